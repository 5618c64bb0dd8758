"""What is measured of a classifier's outputs, and how certain that is."""
