"""Resizes and crops an RGB image to the network's pixels: the only resize and crop in rtl."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import MAX_PIXELS

Box = tuple[int, int, int, int]


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return uint8 RGB pixels [size, size, 3] of an RGB image whose EXIF orientation is applied.

    On PIL images, `crop` equals torchvision's `Resize(resize_size)` and `CenterCrop(size)`, and
    `squash` equals `Resize((size, size))`, both bilinear with antialias, bit for bit.
    """
    size = preprocessing.size
    if preprocessing.mode == "squash":
        return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    resized = resized_size(image.width, image.height, preprocessing.resize_size)
    box = centre_box(*resized, size)
    if resized[0] * resized[1] > MAX_PIXELS:
        return np.asarray(_resize_and_crop(image, resized, box))
    return np.asarray(image.resize(resized, Image.Resampling.BILINEAR).crop(box))


def resized_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Return (width, height) whose short side is `short_side`; the long one is rounded down.

    >>> resized_size(640, 427, 256)
    (383, 256)
    """
    if width <= height:
        return short_side, int(short_side * height / width)
    return int(short_side * width / height), short_side


def centre_box(width: int, height: int, size: int) -> Box:
    """Return (left, top, right, bottom) of the centre crop; offsets are rounded half to even.

    >>> centre_box(383, 256, 224)
    (80, 16, 304, 240)
    """
    left, top = round((width - size) / 2), round((height - size) / 2)
    return left, top, left + size, top + size


def require_resizable(size: tuple[int, int], preprocessing: Preprocessing) -> None:
    """Raise ImageError where a graph that resizes by itself would need too much memory.

    `size` is the (width, height) of the image.
    """
    if preprocessing.mode == "squash":
        return
    width, height = resized_size(*size, preprocessing.resize_size)
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{size[0]}×{size[1]} pixels become {width}×{height} in this model file's graph",
            hint="a model file with the input `pixels` or `tensor` resizes only what it keeps",
        )


def _resize_and_crop(image: Image.Image, resized: tuple[int, int], box: Box) -> Image.Image:
    """Return the crop `box` of the image resized to `resized`, resizing only what the crop keeps.

    An image of 5000×1 pixels would become 1,280,000×256 (1.3 GB) only to be cropped. A value may
    differ by one from resizing the whole image, because the box changes the rounding of the
    filter's weights.
    """
    scale_x, scale_y = image.width / resized[0], image.height / resized[1]
    source = (box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y)
    size = (box[2] - box[0], box[3] - box[1])
    return image.resize(size, Image.Resampling.BILINEAR, box=source)
