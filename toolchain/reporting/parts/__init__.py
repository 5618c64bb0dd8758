"""The parts of the page: the values that each template shows."""
