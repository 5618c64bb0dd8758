"""Folders of images: what layouts are understood, how they are split, what is wrong with them."""
