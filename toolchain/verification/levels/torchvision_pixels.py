"""The pixels of an image file by torchvision, which the predictor's pixels are compared with.

This is a second implementation, from the bytes on: Pillow's decoder, the EXIF orientation by a
table, the contract of docs/card.md for kinds of image that torchvision has no rule for, then
`Resize` and `CenterCrop`. It shares no line with the predictor, so a mistake in either is found.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.heif import is_heif
from toolchain.runtime.model_inputs import Pixels

ORIENTATION = 274
"""The EXIF tag of the orientation (Exif 2.32)."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Orientation → the transposition that undoes it; 1 needs none."""


@dataclass(frozen=True)
class ReferenceStages:
    """An image after each stage of the reference implementation."""

    decoded: Image.Image
    """RGB, transparency over the background."""
    oriented: Image.Image
    """With the EXIF orientation applied."""
    resized: Image.Image
    cropped: Pixels
    """uint8 [size, size, 3]."""


def reference_stages(data: bytes, preprocessing: Preprocessing) -> ReferenceStages:
    """Take an image file through torchvision's transforms; raises whatever Pillow raises."""
    from toolchain.networks.torchvision_import import import_torchvision

    transforms = import_torchvision().transforms.v2
    with _opened(data) as image:
        if preprocessing.decode_scale:
            side = preprocessing.needed * preprocessing.decode_scale
            image.draft(image.mode, (side, side))
        image.load()
        decoded = _rgb(image, preprocessing.background)
        turn = TURNS.get(_orientation(image))
    oriented = decoded.transpose(turn) if turn is not None else decoded
    size = preprocessing.size
    if preprocessing.mode == "squash":
        resized = transforms.Resize((size, size))(oriented)
        return ReferenceStages(decoded, oriented, resized, np.asarray(resized))
    resized = transforms.Resize(preprocessing.resize_size)(oriented)
    cropped = np.asarray(transforms.CenterCrop(size)(resized))
    return ReferenceStages(decoded, oriented, resized, cropped)


def _opened(data: bytes) -> Image.Image:
    """Return an image; HEIC, which Pillow can't read, by pillow-heif's own interface."""
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        if not is_heif(data):
            raise
    from pillow_heif import open_heif

    image: Image.Image = open_heif(io.BytesIO(data), convert_hdr_to_8bit=True).to_pillow()
    return image


def _rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Return an image in RGB: transparency over the background, 16 bits scaled to 8."""
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).astype(np.float64)
        grey = np.rint(values / 257).astype(np.uint8)
        rgb = np.stack([grey] * 3, axis=2)
        clear = image.info.get("transparency")
        if isinstance(clear, int):
            rgb[values == clear] = background
        return Image.fromarray(rgb)
    if "A" in image.getbands() or "transparency" in image.info:
        whole = image.convert("RGBA")
        canvas = Image.new("RGBA", whole.size, (*background, 255))
        canvas.alpha_composite(whole)
        return canvas.convert("RGB")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # damaged EXIF raises anything, and counts as none
        return 1
    return found if isinstance(found, int) else 1
