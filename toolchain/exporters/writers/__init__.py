"""Writers of model files, one for each format, and what they share."""
