"""Draws one machined part: outline, surface, light, and a defect where one is asked for.

Lengths are fractions of the image's short side, angles are in radians, and the origin is the middle
of the image. So a defect covers the same share of an image of any size. Heights have the same unit
and are positive towards the camera.
"""
