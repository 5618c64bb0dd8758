"""From a run folder to model files that are verified before they are kept."""
