"""Batches of smaller images, for the first epochs of a training.

The images are read, augmented and cropped at the full size, and reduced on the device that trains:
so they show the same part of the world as later, and their order and augmentation are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def resized(pixels: Tensor, size: int) -> Tensor:
    """Return images reduced to `size` × `size` pixels, without aliasing.

    Takes uint8 or float32 [batch, height, width, 3] in 0…255 and returns float32
    [batch, size, size, 3] in the same range.
    """
    channels_first = pixels.permute(0, 3, 1, 2).to(torch.float32)
    small = functional.interpolate(channels_first, (size, size), mode="bilinear", antialias=True)
    return small.permute(0, 2, 3, 1)
