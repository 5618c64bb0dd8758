"""Outputs that are NaN or infinite are an error, or kept without a label."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import toolchain
from tests.conftest import Rtl
from tests.runtime.tiny import SIDE, tiny_model, weight, write
from toolchain import Prediction, Predictor
from toolchain.errors import ModelFileError
from toolchain.runtime.card import InputKind

WHITE = np.full((SIDE, SIDE, 3), 255, np.uint8)
BLACK = np.zeros((SIDE, SIDE, 3), np.uint8)


def overflowing(path: Path, kind: InputKind = "pixels") -> Path:
    """Write a model whose numbers overflow for a bright image only."""
    model: onnx.ModelProto = tiny_model(kind)
    large = weight("weight", np.eye(3, dtype=np.float32) * np.float32(3e37))
    next(t for t in model.graph.initializer if t.name == "weight").CopyFrom(large)
    return write(model, path)


@pytest.fixture(params=["pixels", "image"])
def overflowing_model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return overflowing(tmp_path / "overflowing.onnx", request.param)


def test_outputs_that_are_not_finite_are_an_error(overflowing_model: Path) -> None:
    predictor = Predictor(overflowing_model)
    assert predictor(BLACK).finite
    message = "outputs that are not finite numbers for"
    for use in (
        lambda: predictor(WHITE),
        lambda: predictor.predict_pixels(WHITE[None]),
        lambda: list(predictor.predict_many([WHITE])),
    ):
        with pytest.raises(ModelFileError, match=message) as raised:
            use()
        assert "rtl verify" in (raised.value.hint or "")
    _, logits = predictor.run(WHITE[None])  # the numbers themselves, for verification
    assert not np.isfinite(logits).all()


def test_images_before_it_are_predicted(overflowing_model: Path) -> None:
    results = Predictor(overflowing_model).predict_many([BLACK, BLACK, WHITE, BLACK])
    assert isinstance(next(results), Prediction)
    assert isinstance(next(results), Prediction)
    with pytest.raises(ModelFileError):
        next(results)


def test_they_are_kept_where_that_is_asked_for(overflowing_model: Path) -> None:
    predictor = Predictor(overflowing_model, on_nonfinite="keep")
    found = [predictor(WHITE), *predictor.predict_many([BLACK, WHITE, BLACK])]
    assert [isinstance(p, Prediction) and p.finite for p in found] == [False, True, False, True]
    with pytest.raises(ValueError, match="on_nonfinite must be one of raise, keep, got 'ignore'"):
        Predictor(overflowing_model, on_nonfinite="ignore")  # type: ignore[arg-type]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, pixels in (("black.png", BLACK), ("white.png", WHITE)):
        Image.fromarray(pixels).save(folder / name)
    return folder


def test_the_command_ends_with_an_error_that_names_the_image(
    rtl_here: Rtl, tmp_path: Path, photos: Path
) -> None:
    model = overflowing(tmp_path / "overflowing.onnx")
    done = rtl_here("predict", model, photos)
    assert done.returncode == 5
    assert "not finite numbers for" in done.stderr
    assert "white.png" in done.stderr
    assert "NaN" not in done.stdout
    with pytest.raises(ModelFileError, match="not finite"):
        toolchain.predict(model, photos)


def test_rows_without_a_label_hold_null(rtl_here: Rtl, tmp_path: Path, photos: Path) -> None:
    model = overflowing(tmp_path / "overflowing.onnx")
    keep: tuple[Any, ...] = ("predict", model, photos, "--on-nonfinite", "keep")
    black, white = map(json.loads, rtl_here(*keep).stdout.splitlines())
    assert black["label"]
    assert white == {
        "file": str(photos / "white.png"),
        "label": None,
        "probability": None,
        "top": [],
    }
    rows = list(csv.DictReader(io.StringIO(rtl_here(*keep, "--format", "csv").stdout)))
    assert (rows[1]["label_1"], rows[1]["probability_1"]) == ("", "")
    assert "not finite" in rtl_here(*keep, "--format", "table").stdout
    out = tmp_path / "rows.jsonl"
    first = rtl_here(*keep, "-o", out)
    again = rtl_here(*keep, "-o", out, "--resume")
    assert (first.returncode, again.returncode) == (0, 0), again.stderr
    assert len(out.read_text().splitlines()) == 2
