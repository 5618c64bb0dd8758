"""Compare a file with the outputs stored beside it: real images, and what was said about them."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from toolchain.backends.backend import Backend
from toolchain.backends.outputs import pixels_of, run_in_batches, run_on_files
from toolchain.errors import ImageError, ModelFileError
from toolchain.runtime.card import Card
from toolchain.verification.levels import pixels
from toolchain.verification.levels.decisions import decisions_level, tie_bound
from toolchain.verification.levels.numbers import numbers_level, same_file_tolerance
from toolchain.verification.levels.pixels import pixels_level
from toolchain.verification.levels.probabilities import where_outputs_part
from toolchain.verification.references.stored_outputs import StoredOutputs
from toolchain.verification.result import Level, failed


def reference_levels(backend: Backend, references: StoredOutputs) -> Iterator[Level]:
    """Compare the file with the outputs that were stored beside it."""
    card = backend.card
    _require_same_kind(card, references)
    tolerance = same_file_tolerance(card)
    stored = references.probabilities, references.logits
    found = run_in_batches(backend, references.pixels)
    level = numbers_level("references", card, [(stored, found)], tolerance)
    where = None if level.passed else where_outputs_part(card, found)
    yield msgspec.structs.replace(level, where=where)
    whole = [i for i, data in enumerate(references.files) if data]
    if not whole:
        return
    names = [references.names[i] for i in whole]
    files = [references.files[i] for i in whole]
    expected = references.probabilities[whole], references.logits[whole]
    try:
        answered = run_on_files(backend, files, names)
        ours = [pixels_of(card, data, name) for data, name in zip(files, names, strict=True)]
    except ImageError as error:
        yield failed("pixels", "references", str(error), where=f"decode: {error}")
        return
    bound = tie_bound(card, expected[1], tolerance)
    yield decisions_level("references", card, names, expected, answered, bound)
    difference = pixels.compare_pixels(names, references.pixels[whole], np.stack(ours))
    rule = "every value equals the workshop's, from the same bytes"
    where = "decode, upright, resize or crop, on this machine"
    yield pixels_level("references", difference, rule, where=where)


def _require_same_kind(card: Card, references: StoredOutputs) -> None:
    """Raise ModelFileError for references that can't be of this model."""
    if references.classes != card.classes:
        raise ModelFileError("the references were made for other classes than the card names")
    size = references.pixels.shape[1]
    if size != card.preprocessing.size:
        raise ModelFileError(
            f"the references were made at {size} pixels, the card says {card.preprocessing.size}"
        )
