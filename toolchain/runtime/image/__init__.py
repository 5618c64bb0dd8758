"""Decoding and preprocessing: from the bytes of an image to the pixels of the network."""
