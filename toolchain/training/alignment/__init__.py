"""Alignment of what a network computes for training images and for those of another camera."""
