"""Writers of model files, one for each format."""
