"""The input kind `image`: the pixels that its graph computes, compared with `preprocess`."""

from __future__ import annotations

import functools

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import parser
from PIL import Image

from toolchain.exporters.variants import OPSETS
from toolchain.exporters.writers.image_input import with_image_input
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.preprocess import centre_box, preprocess, resized_size
from toolchain.runtime.model_inputs import embed_in_canvas
from toolchain.verification.levels.image_input import allowed_levels

CROP = Preprocessing(size=56, resize_size=64)
SQUASH = Preprocessing(mode="squash", size=56)
WHOLE = Preprocessing(size=56, resize_size=56)
"""A crop that cuts nothing from the short side."""
PHOTOGRAPHS = Preprocessing()
"""The default: resized to 256, cropped to 224."""

MODEL = """
<ir_version: {ir_version}, opset_import: ["" : {opset}]>
behind (uint8[1, {size}, {size}, 3] pixels) => (uint8[1, {size}, {size}, 3] copied)
{{ copied = Identity (pixels) }}
"""


@functools.cache
def front(preprocessing: Preprocessing, opset: int = 18) -> onnxruntime.InferenceSession:
    """Return a session of resize and crop alone, in front of a model that does nothing."""
    text = MODEL.format(size=preprocessing.size, opset=opset, ir_version=OPSETS[opset][1])
    model = with_image_input(parser.parse_model(text), preprocessing)
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def in_graph(
    image: NDArray[np.uint8], preprocessing: Preprocessing, opset: int = 18
) -> NDArray[np.int16]:
    [[pixels]] = front(preprocessing, opset).run(["copied"], {"image": image})
    return np.asarray(pixels, np.int16)


def by_preprocess(image: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    return preprocess(Image.fromarray(image), preprocessing)


def noise(width: int, height: int) -> NDArray[np.uint8]:
    """Return the hardest image to resize alike: each pixel differs from its neighbours."""
    rng = np.random.default_rng(width * 1009 + height)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def frame() -> NDArray[np.uint8]:
    """Return a black image with a white border of one pixel."""
    image = np.full((470, 470, 3), 255, np.uint8)
    image[1:-1, 1:-1] = 0
    return image


def places(width: int, height: int) -> NDArray[np.uint8]:
    """Return an image whose first two channels are half of each pixel's coordinates."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x // 2 % 256, y // 2 % 256, (x + y) % 256], axis=2).astype(np.uint8)


SIZES = [
    (64, 64),
    (56, 56),
    (300, 200),
    (200, 300),
    (301, 200),
    (200, 301),
    (640, 427),
    (97, 1000),  # down across and up along
    (9, 5),  # up in both directions
    (40, 63),
    (1, 1),
    (1, 7),
    (7, 1),
    (1, 40),
    (500, 3),
]


@pytest.mark.parametrize("preprocessing", [CROP, SQUASH, WHOLE], ids=["crop", "squash", "whole"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_near_those_of_preprocess(
    preprocessing: Preprocessing, size: tuple[int, int]
) -> None:
    image = noise(*size)
    difference = np.abs(in_graph(image, preprocessing) - by_preprocess(image, preprocessing))
    assert difference.max() <= (1 if preprocessing is CROP else 24)
    assert difference.mean() < 0.5


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400))
def test_crop_is_within_a_level_for_any_size(width: int, height: int) -> None:
    image = noise(width, height)
    assert np.abs(in_graph(image, CROP) - by_preprocess(image, CROP)).max() <= 1


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400))
def test_squash_is_off_only_at_the_border_for_any_size(width: int, height: int) -> None:
    image = noise(width, height)
    difference = np.abs(in_graph(image, SQUASH) - by_preprocess(image, SQUASH))
    assert difference[1:-1, 1:-1].max() <= 2
    assert difference.max() <= allowed_levels(SQUASH)


@pytest.mark.parametrize("preprocessing", [CROP, SQUASH, WHOLE], ids=["crop", "squash", "whole"])
def test_a_white_frame_is_the_worst_that_a_border_can_be(preprocessing: Preprocessing) -> None:
    difference = np.abs(in_graph(frame(), preprocessing) - by_preprocess(frame(), preprocessing))
    assert difference.max() <= allowed_levels(preprocessing)
    assert bool(difference.max() > 40) is (preprocessing is not CROP)


@pytest.mark.parametrize(("cut", "most"), [(0, 60), (1, 60), (2, 1), (3, 1), (32, 1)])
def test_a_crop_of_two_pixels_hides_the_border(cut: int, most: int) -> None:
    preprocessing = Preprocessing(size=56, resize_size=56 + cut)
    assert allowed_levels(preprocessing) == most
    difference = np.abs(in_graph(frame(), preprocessing) - by_preprocess(frame(), preprocessing))
    assert bool(difference.max() > 1) is (most > 1)


@settings(max_examples=15, deadline=None)
@given(st.integers(20, 1500), st.integers(20, 1500))
def test_crop_is_within_a_level_at_the_size_of_photographs(width: int, height: int) -> None:
    image = noise(width, height)
    assert np.abs(in_graph(image, PHOTOGRAPHS) - by_preprocess(image, PHOTOGRAPHS)).max() <= 1


@settings(max_examples=200, deadline=None)
@given(st.integers(64, 700), st.booleans())
def test_the_crop_begins_at_the_same_pixel(long_side: int, portrait: bool) -> None:
    # The short side has its size already, so the image is cropped and not resized. Differences of
    # the sides are odd and even, so half of one may end in .5, which is rounded to even.
    size = (64, long_side) if portrait else (long_side, 64)
    image = places(*size)
    left, top, right, bottom = centre_box(*size, 56)
    np.testing.assert_array_equal(in_graph(image, CROP), image[top:bottom, left:right])


@pytest.mark.parametrize("width", [65, 66, 67, 68, 69, 70, 71, 72])
def test_half_offsets_are_rounded_to_even(width: int) -> None:
    offset = (width - 56) / 2
    left = int(in_graph(places(width * 2, 128)[::2, ::2], CROP)[0, 0, 0])
    expected = round(offset)
    assert left == expected
    assert abs(expected - offset) == (0.5 if width % 2 else 0)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 20000), st.integers(1, 20000), st.sampled_from([64, 73, 232, 256]))
def test_integers_truncate_the_long_side_as_floats_do(width: int, height: int, short: int) -> None:
    # The graph divides integers; `preprocess` divides floats and truncates.
    expected = resized_size(width, height, short)
    assert expected == tuple(side * short // min(width, height) for side in (width, height))


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_gives_the_same_pixels(opset: int) -> None:
    for preprocessing in (CROP, SQUASH):
        image = noise(301, 200)
        np.testing.assert_array_equal(
            in_graph(image, preprocessing, opset), in_graph(image, preprocessing)
        )


@pytest.mark.parametrize("preprocessing", [CROP, SQUASH], ids=["crop", "squash"])
def test_pixels_on_a_canvas_come_through_unchanged(preprocessing: Preprocessing) -> None:
    pixels = noise(56, 56)
    canvas = embed_in_canvas(pixels, preprocessing)
    np.testing.assert_array_equal(in_graph(canvas, preprocessing), pixels)


def test_the_model_lists_each_opset_once() -> None:
    text = MODEL.format(size=56, opset=18, ir_version=8)
    model = with_image_input(parser.parse_model(text), CROP)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.ir_version == 8
