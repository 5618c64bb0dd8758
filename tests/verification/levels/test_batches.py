"""Level "batches": a file that is wrong for some sizes only is found, without a reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.runtime.test_card import some_card
from toolchain.errors import ModelFileError
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import ModelOutputs
from toolchain.verification.levels import batches
from toolchain.verification.levels.batches import batch_level, distinct_pixels

ALL_SIZES = (*range(2, 41), 64)


class MadeBackend:
    """Computes means of colours, and something else for one size of a batch."""

    def __init__(self, wrong: int = 0, change: Any = 1.0, batch: int | None = None) -> None:
        self.card: Card = some_card()
        self.wrong, self.change = wrong, change
        self.sizes: list[int] = []

    def run(self, pixels: np.ndarray) -> ModelOutputs:
        self.sizes.append(len(pixels))
        logits = pixels.mean(axis=(1, 2)).astype(np.float32)[:, :2]
        if len(pixels) == self.wrong:
            if isinstance(self.change, Exception):
                raise self.change
            logits[-1] += np.float32(self.change)
        return ModelOutputs(np.zeros_like(logits), logits)


@pytest.fixture(autouse=True)
def all_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's fixture keeps three sizes; here are those of users."""
    monkeypatch.setattr(
        batches, "SIZES", (*batches.FIRST, *(set(range(2, 41)) - set(batches.FIRST)))
    )


def test_every_size_to_40_and_64_is_compared() -> None:
    backend = MadeBackend()
    level = batch_level(backend, backend.card)
    assert level.passed
    assert sorted(backend.sizes) == [1] * 64 + list(ALL_SIZES)
    assert level.summary == "batches of 2–40, 64 images, the same as single images"


@pytest.mark.parametrize("size", [2, 6, 16, 17, 33, 39, 40, 64])
def test_a_size_with_other_numbers_is_named(size: int) -> None:
    backend = MadeBackend(wrong=size)
    level = batch_level(backend, backend.card)
    assert not level.passed
    assert str(level.where).startswith(f"the batch: wrong for {size} images at once, off by")


@pytest.mark.parametrize("change", [np.nan, np.inf, ModelFileError("no kernel")])
def test_what_is_no_number_or_can_not_be_computed_is_wrong(change: Any) -> None:
    backend = MadeBackend(wrong=9, change=change)
    level = batch_level(backend, backend.card)
    assert "wrong for 9 images" in str(level.where)


def test_a_slow_device_stops_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST_SECONDS", 0.0)
    backend = MadeBackend()
    level = batch_level(backend, backend.card)
    assert sorted(set(backend.sizes) - {1}) == sorted(batches.FIRST)
    assert level.summary.endswith("0 s were not enough for more")


def test_each_place_of_a_batch_has_another_image() -> None:
    pixels = distinct_pixels(64, 64)
    assert len({image.tobytes() for image in pixels}) == 64
