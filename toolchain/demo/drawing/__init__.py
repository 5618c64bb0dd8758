"""Draws one machined part: outline, surface, light, and a defect where one is asked for.

Lengths are in short sides of the picture (1.0 is its short side), angles in radians, with the
origin in the middle of the picture. So a defect has the same share of every picture, whatever
its size in pixels. Height is in the same unit and positive towards the camera.
"""
