"""Outputs of any number of pixels or image files, computed in batches by a backend."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tests.runtime.tiny import tiny_card
from toolchain.backends.outputs import BATCH_SIZE, concatenate_outputs, run_in_batches, run_on_files
from toolchain.errors import ImageError
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import ModelOutputs, Pixels


class Means:
    """A backend whose logits are the mean of each channel; it keeps the sizes of its batches."""

    def __init__(self) -> None:
        self.card: Card = tiny_card()
        self.sizes: list[int] = []

    def run(self, pixels: Pixels) -> ModelOutputs:
        self.sizes.append(len(pixels))
        logits = pixels.mean(axis=(1, 2), dtype=np.float32)
        return ModelOutputs(logits / 255, logits)


@pytest.mark.parametrize("count", [1, BATCH_SIZE, BATCH_SIZE + 1, 3 * BATCH_SIZE])
def test_outputs_in_batches_are_those_of_all_pixels_in_their_order(count: int) -> None:
    backend = Means()
    pixels = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    found = run_in_batches(backend, pixels)
    assert max(backend.sizes) <= BATCH_SIZE
    expected = Means().run(pixels)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    np.testing.assert_array_equal(found.logits, expected.logits)


def test_batches_are_put_together_by_field() -> None:
    a, b = (np.full((2, 3), value, np.float32) for value in (0.5, 7))
    found = concatenate_outputs([ModelOutputs(a, b), ModelOutputs(2 * a, 2 * b)])
    assert found.probabilities[:, 0].tolist() == [0.5, 0.5, 1, 1]
    assert found.logits[:, 0].tolist() == [7, 7, 14, 14]


def test_image_files_are_read_by_the_card_and_named_in_the_error() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (50, 40), (10, 20, 30)).save(stream, "PNG")
    found = run_on_files(Means(), [stream.getvalue()], ["red.png"])
    assert found.logits.tolist() == [[10, 20, 30]]
    with pytest.raises(ImageError, match=r"broken\.png"):
        run_on_files(Means(), [stream.getvalue(), b"not an image"], ["red.png", "broken.png"])
