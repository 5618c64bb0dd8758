"""Batches of images for training and evaluation: order, augmentation, decoding, mixing."""
