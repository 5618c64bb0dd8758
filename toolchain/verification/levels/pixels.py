"""Level "pixels": the predictor's pixels of an image file are those of torchvision's transforms."""

from __future__ import annotations

import msgspec
import numpy as np
from PIL import Image

from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.runtime.model_inputs import Pixels
from toolchain.verification.levels.torchvision_pixels import reference_stages
from toolchain.verification.result import Level

PIXELS_RULE = "every value equals torchvision's, from the same bytes"


class PixelDifference(msgspec.Struct, frozen=True):
    """How far the pixels of two implementations are apart, in levels of 0…255."""

    images: int
    different: int
    """Images with any difference."""
    max_levels: int
    mean_levels: float
    p99_levels: float
    share_of_values: float
    """Share of all values that differ, in 0…1."""
    first: str | None
    """The first image that differs."""


def compare_pixels(names: list[str], reference: Pixels, candidate: Pixels) -> PixelDifference:
    """Compare pixels uint8 [images, size, size, 3]."""
    levels = np.abs(reference.astype(np.int16) - candidate)
    most = levels.reshape(len(levels), -1).max(axis=1, initial=0)
    return PixelDifference(
        images=len(names),
        different=int((most > 0).sum()),
        max_levels=int(most.max(initial=0)),
        mean_levels=float(levels.mean()) if levels.size else 0.0,
        p99_levels=float(np.quantile(levels, 0.99)) if levels.size else 0.0,
        share_of_values=float((levels > 0).mean()) if levels.size else 0.0,
        first=next((name for name, worst in zip(names, most, strict=True) if worst), None),
    )


def pixels_level(
    against: str, difference: PixelDifference, rule: str, *, where: str | None
) -> Level:
    """Return the level of pixels that must be equal; `where` is used only where they are not."""
    return Level(
        level="pixels",
        against=against,
        passed=difference.images > 0 and difference.different == 0,
        rule=rule,
        summary=pixel_summary(difference),
        figures=msgspec.structs.asdict(difference),
        where=where if difference.different else None,
    )


def pixel_summary(difference: PixelDifference) -> str:
    """Return a difference in one line, for a person."""
    if not difference.different:
        return f"{difference.images} images, equal"
    return (
        f"{difference.images} images, {difference.different} different, by up to "
        f"{difference.max_levels} of 255 in {difference.share_of_values:.2%} of the values"
    )


def differing_stage(
    data: bytes, preprocessing: Preprocessing, own_preprocessing: Preprocessing | None = None
) -> str:
    """Name the first stage at which the predictor's pixels differ: decode, upright, resize or crop.

    `own_preprocessing` is that of the file where it may differ from the reference's. The stage
    "upright" applies the EXIF orientation.
    """
    own = own_preprocessing or preprocessing
    try:
        oriented = read_image(data, own)
    except ImageError as error:
        return f"decode: {error}"
    try:
        stages = reference_stages(data, preprocessing)
    except Exception as error:  # Pillow raises whatever damaged data makes it raise
        return f"decode: only the predictor can read it ({error})"
    if not _same(oriented, stages.oriented):
        not_turned = not _same(stages.decoded, stages.oriented) and _same(oriented, stages.decoded)
        return "upright: the EXIF orientation is not applied" if not_turned else "decode"
    if "squash" not in (preprocessing.mode, own.mode) and _is_cut_from(
        preprocess(oriented, own), np.asarray(stages.resized)
    ):
        return "crop: the square is cut from another place"
    return "resize"


def _same(a: Image.Image, b: Image.Image) -> bool:
    return a.size == b.size and bool((np.asarray(a) == np.asarray(b)).all())


def _is_cut_from(square: Pixels, resized: Pixels) -> bool:
    """Return whether a square is a part of the resized image, wherever that is."""
    side = square.shape[0]
    down, across = (length - side + 1 for length in resized.shape[:2])
    if min(down, across) < 1:
        return False
    # Three pixels of the square rule out nearly all places; the others are compared whole.
    possible = np.ones((down, across), bool)
    for y, x in ((0, 0), (side // 2, side // 2), (side - 1, side - 1)):
        possible &= (resized[y : y + down, x : x + across] == square[y, x]).all(axis=2)
    return any(
        np.array_equal(resized[y : y + side, x : x + side], square)
        for y, x in np.argwhere(possible)
    )
