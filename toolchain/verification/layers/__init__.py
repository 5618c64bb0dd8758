"""Where a file leaves the trained model: layer by layer, in each format."""
