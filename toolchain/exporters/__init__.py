"""From a run folder to model files that have been proved."""
