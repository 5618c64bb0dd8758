"""Arrays as images: uint8 RGB [height, width, 3] in any memory order, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.tiny import tiny_model, write
from toolchain import Predictor
from toolchain.errors import ImageError


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    path: Path = write(tiny_model(), tmp_path_factory.mktemp("arrays") / "tiny.onnx")
    with Predictor(path) as opened:
        yield opened


OTHER_ARRAYS: dict[str, Any] = {
    "float": np.zeros((9, 9, 3), np.float32),
    "16 bits": np.zeros((9, 9, 3), np.uint16),
    "signed": np.zeros((9, 9, 3), np.int8),
    "bool": np.zeros((9, 9, 3), bool),
    "grey": np.zeros((9, 9), np.uint8),
    "batch": np.zeros((1, 9, 9, 3), np.uint8),
    "one channel": np.zeros((9, 9, 1), np.uint8),
    "transparency": np.zeros((9, 9, 4), np.uint8),
    "channels first": np.zeros((3, 9, 9), np.uint8),
    "no rows": np.zeros((0, 9, 3), np.uint8),
    "no columns": np.zeros((9, 0, 3), np.uint8),
    "a number": np.uint8(3),
    "objects": np.full((9, 9, 3), None),
}


@pytest.mark.parametrize("name", OTHER_ARRAYS)
def test_other_array_than_rgb_is_an_image_error_with_its_shape(
    name: str, predictor: Predictor
) -> None:
    array = OTHER_ARRAYS[name]
    with pytest.raises(ImageError) as caught:
        predictor(array)
    if isinstance(array, np.ndarray):
        assert f"{array.dtype} of shape {array.shape}" in str(caught.value)
        assert "uint8 [height, width, 3], RGB" in str(caught.value.hint)
    (result,) = predictor.predict_many([array])
    assert isinstance(result, ImageError)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1, ::-1],
        lambda a: np.asfortranarray(a),
        lambda a: a[:, :, ::-1][:, :, ::-1],
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    ],
    ids=["rotated", "Fortran", "reversed twice", "every second"],
)
def test_the_memory_order_of_an_array_does_not_matter(
    view: Callable[[Any], Any], predictor: Predictor
) -> None:
    array = view(np.random.default_rng(5).integers(0, 256, (13, 17, 3), dtype=np.uint8))
    plain = np.array(array, order="C", copy=True)
    array.flags.writeable = False
    np.testing.assert_array_equal(predictor(array).logits, predictor(plain).logits)
