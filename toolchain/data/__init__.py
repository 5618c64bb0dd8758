"""Labelled images on disk: the layouts that are read, how they are split, and their audit."""
