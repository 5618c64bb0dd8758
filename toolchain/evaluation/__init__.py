"""From a run folder to figures: how good the trained model is."""
