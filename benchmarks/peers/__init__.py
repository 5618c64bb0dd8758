"""rtl beside other tools: the same photographs and starting weights, whole commands, in one run."""
