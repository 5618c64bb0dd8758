"""Automatic choice: which strategy and rates, by measurements inside the training images."""
