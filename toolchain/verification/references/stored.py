"""The levels of a file against the outputs stored beside it: real images, from their bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.backends.backend import Backend
from toolchain.backends.outputs import pixels_of, run_in_batches, run_on_files
from toolchain.errors import ImageError
from toolchain.runtime.card import Card
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.model_inputs import ModelOutputs, Pixels
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.selftest import same_file_tolerance
from toolchain.runtime.stored_outputs import StoredOutputs
from toolchain.verification.examination import examined
from toolchain.verification.levels.decisions import decisions_level, tie_bound
from toolchain.verification.levels.image_input import (
    image_input_level,
    open_graph_resize,
    unused_pixels,
)
from toolchain.verification.levels.numbers import numbers_level
from toolchain.verification.levels.pixels import compare_pixels, pixels_level
from toolchain.verification.levels.probabilities import wrong_probability_stage
from toolchain.verification.references.card_suspected import suspected_preprocessing
from toolchain.verification.result import Level, failed

STORED_PIXELS_RULE = "every value equals that at export, from the same bytes"


def stored_levels(
    backend: Backend,
    held: Card,
    path: Path,
    stored: StoredOutputs,
    tie_tolerance: float | None = None,
) -> Iterator[Level]:
    """Yield the levels of a file against its stored outputs.

    Numbers are compared from the stored pixels, decisions and pixels from the images whose bytes
    are stored. `held` is the card that the file is held to; another label counts where it is no tie
    within `tie_tolerance`, which is by default that of `held`.
    """
    if tie_tolerance is None:
        tie_tolerance = same_file_tolerance(held)
    other = _other_kind(held, stored)
    if other is not None:
        yield other
    size, classes = stored.pixels.shape[1], stored.logits.shape[1]
    if size != held.preprocessing.size or classes != len(held.classes):
        return
    yield examined("numbers", "references", lambda: _numbers(backend, held, stored))
    with_bytes = [i for i, data in enumerate(stored.files) if data]
    if not with_bytes:
        return
    images = _with_bytes(stored, with_bytes)
    pixels = examined("pixels", "references", lambda: _pixels(held, images))
    if "error" in pixels.figures:  # an image that can't be read
        yield pixels
        return
    bound = tie_bound(held, images.logits, tie_tolerance)
    yield examined("decisions", "references", lambda: _decisions(backend, held, images, bound))
    yield pixels
    if held.input == "image" and isinstance(backend, Predictor):
        yield examined(
            "pixels",
            "stored images in the graph",
            lambda: _graph_pixels(backend, held, path, images),
        )


def _other_kind(card: Card, stored: StoredOutputs) -> Level | None:
    """Return a failed level for a card that can't be of the model with these outputs."""
    size = stored.pixels.shape[1]
    if stored.classes != card.classes:
        same = sorted(stored.classes) == sorted(card.classes)
        message = "the card names " + (
            "the classes of the references in another order"
            if same
            else "other classes than the references were made for"
        )
        return failed("card", "references", message, where="the card: classes")
    if size != card.preprocessing.size:
        message = f"the references were made at {size} pixels, the card says "
        message += str(card.preprocessing.size)
        return failed("card", "references", message, where="the card: preprocessing")
    return None


def _with_bytes(stored: StoredOutputs, places: list[int]) -> StoredOutputs:
    return StoredOutputs(
        stored.classes,
        tuple(stored.names[i] for i in places),
        tuple(stored.files[i] for i in places),
        stored.pixels[places],
        stored.probabilities[places],
        stored.logits[places],
    )


def _numbers(backend: Backend, held: Card, stored: StoredOutputs) -> Level:
    found = run_in_batches(backend, stored.pixels)
    level = numbers_level("references", held, [(stored.outputs, found)], same_file_tolerance(held))
    where = None if level.passed else _lost(stored.names, found)
    return msgspec.structs.replace(
        level, where=where or (None if level.passed else wrong_probability_stage(held, found))
    )


def _lost(names: Sequence[str], found: ModelOutputs) -> str | None:
    """Name the images whose outputs are not numbers."""
    bad = np.asarray(~np.isfinite(np.concatenate(found, axis=1)).all(axis=1))
    lost = [name for name, is_bad in zip(names, bad, strict=True) if is_bad]
    more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
    return f"the image {', '.join(lost[:3])}{more}: its outputs are not numbers" if lost else None


def _decisions(backend: Backend, held: Card, images: StoredOutputs, tie_tolerance: float) -> Level:
    found = run_on_files(backend, images.files, images.names)
    bound = tie_bound(held, images.logits, tie_tolerance)
    return decisions_level("references", held, list(images.names), images.outputs, found, bound)


def _pixels(held: Card, images: StoredOutputs) -> Level:
    try:
        pixels = [
            pixels_of(held, data, name)
            for data, name in zip(images.files, images.names, strict=True)
        ]
    except ImageError as error:
        return failed("pixels", "references", str(error), where=f"decode: {error}")
    difference = compare_pixels(list(images.names), images.pixels, np.stack(pixels))
    where = None
    if difference.different:
        where = suspected_preprocessing(held.preprocessing, images, difference)
    where = where or "decode, upright (EXIF orientation), resize or crop, on this machine"
    return pixels_level("references", difference, STORED_PIXELS_RULE, where=where)


def _graph_pixels(predictor: Predictor, held: Card, path: Path, images: StoredOutputs) -> Level:
    """Compare what the graph makes of the stored images with the stored pixels."""
    resize_in_graph = open_graph_resize(path)
    whole: list[NDArray[np.uint8]] = [
        np.asarray(read_image(data, held.preprocessing, name=name))
        for data, name in zip(images.files, images.names, strict=True)
    ]
    in_graph: Pixels = np.concatenate([resize_in_graph(image) for image in whole])
    level = image_input_level(
        held, list(images.names), images.pixels, in_graph, against="stored images in the graph"
    )
    if not level.passed:
        return level
    unused = unused_pixels(predictor, held, whole, in_graph)
    return level if unused is None else msgspec.structs.replace(level, passed=False, where=unused)
