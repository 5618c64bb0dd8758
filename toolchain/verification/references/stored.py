"""The levels of a file against the outputs stored beside it: real images, from their bytes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from toolchain.backends.backend import Backend
from toolchain.backends.outputs import pixels_of, run_in_batches, run_on_files
from toolchain.errors import ImageError, ModelFileError
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.verification.levels.decisions import decisions_level, tie_bound
from toolchain.verification.levels.numbers import numbers_level, same_file_tolerance
from toolchain.verification.levels.pixels import compare_pixels, pixels_level
from toolchain.verification.levels.probabilities import wrong_probability_stage
from toolchain.verification.references.stored_outputs import StoredOutputs
from toolchain.verification.result import Level, failed

STORED_PIXELS_RULE = "every value equals that at export, from the same bytes"


def stored_levels(backend: Backend, stored: StoredOutputs) -> Iterator[Level]:
    """Yield the levels of a file against its stored outputs.

    Numbers are compared from the stored pixels, decisions and pixels from the images whose bytes
    are stored. Raises ModelFileError for outputs of another model.
    """
    card = backend.card
    _require_same_kind(card, stored)
    tolerance = same_file_tolerance(card)
    found = run_in_batches(backend, stored.pixels)
    level = numbers_level("references", card, [(stored.outputs, found)], tolerance)
    where = None if level.passed else wrong_probability_stage(card, found)
    yield msgspec.structs.replace(level, where=where)
    with_bytes = [i for i, data in enumerate(stored.files) if data]
    if not with_bytes:
        return
    names = [stored.names[i] for i in with_bytes]
    files = [stored.files[i] for i in with_bytes]
    expected = ModelOutputs(stored.probabilities[with_bytes], stored.logits[with_bytes])
    try:
        from_bytes = run_on_files(backend, files, names)
        pixels = [pixels_of(card, data, name) for data, name in zip(files, names, strict=True)]
    except ImageError as error:
        yield failed("pixels", "references", str(error), where=f"decode: {error}")
        return
    bound = tie_bound(card, expected.logits, tolerance)
    yield decisions_level("references", card, names, expected, from_bytes, bound)
    difference = compare_pixels(names, stored.pixels[with_bytes], np.stack(pixels))
    where = "decode, upright (EXIF orientation), resize or crop, on this machine"
    yield pixels_level("references", difference, STORED_PIXELS_RULE, where=where)


def _require_same_kind(card: Card, stored: StoredOutputs) -> None:
    """Raise ModelFileError for stored outputs that can't be of this model."""
    if stored.classes != card.classes:
        raise ModelFileError("the references were made for other classes than the card names")
    size = stored.pixels.shape[1]
    if size != card.preprocessing.size:
        raise ModelFileError(
            f"the references were made at {size} pixels, the card says {card.preprocessing.size}"
        )
