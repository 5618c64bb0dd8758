"""The levels of a file against itself, which need no reference at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from toolchain.backends.backend import Backend
from toolchain.runtime.card import Card
from toolchain.runtime.predictor import Predictor
from toolchain.verification.examination import Where, examined
from toolchain.verification.levels.batches import batch_level
from toolchain.verification.levels.image_input import made_pictures_level
from toolchain.verification.result import Level


def own_levels(
    backend: Backend, held: Card, path: Path, where: Where, *, every_batch_size: bool
) -> Iterator[Level]:
    """Yield the levels that compare what a file gives with what it gives otherwise.

    Batches with single images; for the input `image`, what the graph makes of pictures of many
    sizes with what the predictor makes of them.
    """
    if held.input != "image":

        def level() -> Level:
            return batch_level(backend, held, every_size=every_batch_size)

        yield examined("batches", "single images", level, where)
    elif isinstance(backend, Predictor):
        yield examined("pixels", "made pictures", lambda: made_pictures_level(backend, held, path))
