"""Whether the card, and not this machine, is why pixels are not those that were stored."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from toolchain.errors import ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.runtime.stored_outputs import StoredOutputs
from toolchain.verification.levels.pixels import PixelDifference

MACHINE_LEVELS = 3.0
"""Mean difference, in levels of 255, that decoders and resizes of two machines do not reach."""
IMAGES_TRIED = 2


def suspected_preprocessing(
    preprocessing: Preprocessing, images: StoredOutputs, difference: PixelDifference
) -> str | None:
    """Name what in the card explains other pixels than the stored ones; None where nothing does.

    Other values of its fields are tried: where one gives exactly the stored pixels, that is it. A
    difference that is too large for another machine is the card's too.
    """
    for field, other in _alternatives(preprocessing):
        if _gives_stored(other, images):
            was, is_now = (getattr(p, field) for p in (other, preprocessing))
            return f"the card: preprocessing.{field} is {is_now}, at export it was {was}"
    if difference.different == difference.images and difference.mean_levels > MACHINE_LEVELS:
        return "the card: preprocessing, which does not give the pixels of the export"
    return None


def _alternatives(card: Preprocessing) -> Iterator[tuple[str, Preprocessing]]:
    """Yield (field, preprocessing with another value of it)."""
    replace = msgspec.structs.replace
    for size in range(card.size, 2 * card.size + 1):
        if card.mode == "squash":
            yield "mode", replace(card, mode="crop", resize_size=size)
        elif size != card.resize_size:
            yield "resize_size", replace(card, resize_size=size)
    if card.mode == "crop":
        yield "mode", replace(card, mode="squash")
    for scale in range(5):
        if scale != card.decode_scale:
            yield "decode_scale", replace(card, decode_scale=scale)
    for grey in (0, 128, 255):
        if card.background != (grey,) * 3:
            yield "background", replace(card, background=(grey,) * 3)


def _gives_stored(preprocessing: Preprocessing, images: StoredOutputs) -> bool:
    """Return whether the first images become exactly the stored pixels."""
    places = range(min(IMAGES_TRIED, len(images)))
    try:
        return all(
            np.array_equal(
                preprocess(read_image(images.files[i], preprocessing), preprocessing),
                images.pixels[i],
            )
            for i in places
        )
    except ImageError:
        return False
