"""Metrics of a classifier's outputs, and the uncertainty of each."""
