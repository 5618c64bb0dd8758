"""Pixels are converted to every kind of input, and the outputs put together again."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tests.runtime.test_card import some_card
from toolchain.networks.resnet import normalised as normalised_by_torch
from toolchain.runtime.card import Card, InputKind, Preprocessing
from toolchain.runtime.image.preprocess import preprocess
from toolchain.runtime.model_inputs import Floats, embed_in_canvas, normalised, run_on_pixels

SIZE = 4


def card_for(input_kind: InputKind, batch: int | None = None, mode: str = "crop") -> Card:
    preprocessing = Preprocessing(mode=mode, size=SIZE, resize_size=7)  # type: ignore[arg-type]
    return msgspec.structs.replace(
        some_card(), input=input_kind, batch=batch, preprocessing=preprocessing
    )


def some_pixels(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


class Graph:
    """Returns the mean of each image and its double, and records the shapes of its inputs."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, graph_input: NDArray[Any]) -> list[Floats]:
        self.shapes.append(graph_input.shape)
        batch = graph_input if graph_input.ndim == 4 else graph_input[None]
        means = batch.reshape(len(batch), -1).mean(axis=1, dtype=np.float32, keepdims=True)
        return [means, 2 * means]


def test_pixels_are_passed_unchanged() -> None:
    graph, pixels = Graph(), some_pixels(5)
    means, doubles = run_on_pixels(graph, pixels, card_for("pixels"))
    assert graph.shapes == [(5, SIZE, SIZE, 3)]
    np.testing.assert_allclose(means[:, 0], pixels.reshape(5, -1).mean(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(doubles, 2 * means)


@settings(deadline=None)
@given(count=st.integers(1, 9), batch=st.integers(1, 5))
def test_a_fixed_batch_is_padded_and_the_padding_removed(count: int, batch: int) -> None:
    graph, pixels = Graph(), some_pixels(count)
    means, _ = run_on_pixels(graph, pixels, card_for("pixels", batch))
    assert graph.shapes == [(batch, SIZE, SIZE, 3)] * -(-count // batch)
    np.testing.assert_allclose(means[:, 0], pixels.reshape(count, -1).mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize("batch", [None, 2])
def test_tensors_are_normalised_channels_first(batch: int | None) -> None:
    graph, pixels = Graph(), some_pixels(3)
    card = card_for("tensor", batch)
    means, _ = run_on_pixels(graph, pixels, card)
    assert graph.shapes == [(3, 3, SIZE, SIZE)] if batch is None else [(2, 3, SIZE, SIZE)] * 2
    planes = normalised(pixels, card.normalisation)
    np.testing.assert_allclose(means[:, 0], planes.reshape(3, -1).mean(axis=1), atol=1e-6)


def test_normalised_tensors_equal_those_of_the_trained_model_bit_for_bit() -> None:
    pixels, card = some_pixels(4), some_card()
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) * 255
        for values in (card.normalisation.mean, card.normalisation.std)
    )
    expected = normalised_by_torch(torch.from_numpy(pixels), mean, std).numpy()
    found = normalised(pixels, card.normalisation)
    assert found.dtype == np.float32
    assert found.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("mode", "side"), [("crop", 7), ("squash", SIZE)])
def test_images_are_passed_one_at_a_time(mode: str, side: int) -> None:
    graph = Graph()
    run_on_pixels(graph, some_pixels(3), card_for("image", mode=mode))
    assert graph.shapes == [(side, side, 3)] * 3


@settings(deadline=None)
@given(st.integers(1, 40).flatmap(lambda size: st.tuples(st.just(size), st.integers(size, 60))))
def test_resize_and_crop_of_the_canvas_return_the_pixels(sides: tuple[int, int]) -> None:
    size, resize_size = sides
    preprocessing = Preprocessing(size=size, resize_size=resize_size)
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    canvas = Image.fromarray(embed_in_canvas(pixels, preprocessing))
    np.testing.assert_array_equal(preprocess(canvas, preprocessing), pixels)


def test_a_canvas_for_squash_is_the_pixels() -> None:
    pixels = some_pixels(1)[0]
    assert embed_in_canvas(pixels, Preprocessing(mode="squash", size=SIZE)) is pixels
