"""Metrics of a trained model on a split of its data."""
