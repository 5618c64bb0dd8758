"""The predictor: the same prediction from every source and for every kind of input, and errors."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from PIL import Image

from toolchain import Predictor
from toolchain.errors import ImageError, ModelFileError, ToolchainError
from toolchain.runtime.card import CARD_KEY, Card, decode_card, encode_card
from toolchain.runtime.prediction import Prediction


@pytest.fixture(scope="module")
def predictor(model: Path) -> Iterator[Predictor]:
    with Predictor(model) as opened:
        yield opened


@pytest.fixture(scope="module")
def photos(stripes: Path) -> list[Path]:
    """Nine validation images, alternating between the classes."""
    found = [sorted((stripes / "val" / label).iterdir())[:3] for label in CLASSES]
    return [path for group in zip(*found, strict=True) for path in group]


CLASSES = ("across", "aslant", "down")


def with_card(model: Path, path: Path, **changes: Any) -> Path:
    """Write a copy of the model whose card has some fields replaced."""
    content = onnx.load(model)
    for entry in content.metadata_props:
        if entry.key == CARD_KEY:
            card: Card = decode_card(entry.value, source=str(model))
            entry.value = encode_card(msgspec.structs.replace(card, **changes))
    onnx.save(content, path)
    return path


def assert_same(one: Prediction, other: Prediction, tolerance: float = 0) -> None:
    np.testing.assert_allclose(one.logits, other.logits, rtol=0, atol=tolerance)
    np.testing.assert_allclose(one.probabilities, other.probabilities, rtol=0, atol=tolerance)


def test_every_kind_of_source_has_the_same_prediction(
    predictor: Predictor, photos: list[Path]
) -> None:
    path = photos[0]
    expected = predictor(path)
    with Image.open(path) as image, path.open("rb") as file:
        array = np.asarray(image.convert("RGB"))
        sources = (str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), file, image, array)
        for source in sources:
            assert_same(predictor(source), expected)


INPUTS = ("pixels", "tensor", "image", "batch")


@pytest.fixture(scope="module", params=INPUTS)
def any_input(
    request: pytest.FixtureRequest, models_by_input: dict[str, Path]
) -> Iterator[Predictor]:
    """Predictors of the same run, one for each kind of input."""
    with Predictor(models_by_input[request.param]) as opened:
        yield opened


def test_every_kind_of_source_has_the_same_prediction_with_every_input(
    any_input: Predictor, photos: list[Path]
) -> None:
    path = photos[0]
    expected = any_input(path)
    with Image.open(path) as image, path.open("rb") as file:
        array = np.asarray(image.convert("RGB"))
        for source in (str(path), path.read_bytes(), file, image, array):
            assert_same(any_input(source), expected)


def test_every_input_has_the_same_predictions(
    any_input: Predictor, predictor: Predictor, photos: list[Path]
) -> None:
    # The graph of `image` resizes by itself: its pixels may differ by one.
    tolerance = 0.05 if any_input.card.input == "image" else 1e-4
    for path in photos:
        assert_same(any_input(path), predictor(path), tolerance)
        assert any_input(path).label == predictor(path).label


def test_every_input_has_the_same_logits_for_given_pixels(
    any_input: Predictor, predictor: Predictor, photos: list[Path]
) -> None:
    pixels = np.stack([predictor.pixels(path) for path in photos[:4]])
    _, logits = any_input.run(pixels)
    np.testing.assert_allclose(logits, predictor.run(pixels)[1], rtol=0, atol=1e-4)


def test_every_input_keeps_the_order_with_errors_in_their_place(
    any_input: Predictor, photos: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(photos[0].read_bytes()[:300])
    results = list(any_input.predict_many([photos[0], broken, *photos[1:6]], batch_size=4))
    assert [isinstance(result, ImageError) for result in results] == [0, 1, 0, 0, 0, 0, 0]
    assert "broken.jpg" in str(results[1])
    for result, path in zip([results[0], *results[2:]], photos, strict=False):
        assert isinstance(result, Prediction)
        assert_same(result, any_input(path), tolerance=1e-4)


def test_every_input_passes_its_self_test(models_by_input: dict[str, Path]) -> None:
    for path in models_by_input.values():
        with Predictor(path, self_test=True) as opened:
            assert opened.card.proof is not None


def test_image_that_its_graph_would_make_too_large_is_an_image_error(
    models_by_input: dict[str, Path], predictor: Predictor, photos: list[Path]
) -> None:
    line = np.full(
        (1, 50_000, 3), 127, np.uint8
    )  # resized to a height of 73 it is 3,650,000 wide: 0.8 GB
    with Predictor(models_by_input["image"]) as opened:
        with pytest.raises(ImageError, match="50000×1 pixels become 3650000×73") as caught:
            opened(line)
        first, second = opened.predict_many([line, photos[0]])
    assert "`pixels` or `tensor`" in str(caught.value.hint)
    assert isinstance(first, ImageError)
    assert isinstance(second, Prediction)
    assert predictor(line).label in CLASSES  # this one resizes only what the crop keeps


def test_trained_model_knows_its_classes(predictor: Predictor, photos: list[Path]) -> None:
    assert predictor.classes == CLASSES
    right = [predictor(path).label == path.parent.name for path in photos]
    assert sum(right) >= 5  # of nine; chance gives three


def test_prediction_is_consistent_in_itself(predictor: Predictor, photos: list[Path]) -> None:
    prediction = predictor(photos[0])
    temperature = predictor.card.temperature
    weights = np.exp((prediction.logits - prediction.logits.max()) / temperature)
    np.testing.assert_allclose(prediction.probabilities, weights / weights.sum(), atol=1e-6)
    assert prediction.probability == pytest.approx(float(prediction.probabilities.max()))
    assert prediction.label == CLASSES[int(prediction.probabilities.argmax())]
    assert prediction.label in repr(prediction)


def test_top_returns_the_best_first(predictor: Predictor, photos: list[Path]) -> None:
    prediction = predictor(photos[1])
    best = prediction.top(2)
    assert best[0].label == prediction.label
    assert len(best) == 2
    assert best[0].probability >= best[1].probability
    assert sorted(entry.label for entry in prediction.top(99)) == sorted(CLASSES)
    assert sum(entry.probability for entry in prediction.top(3)) == pytest.approx(1, abs=1e-5)


def test_predict_many_keeps_the_order_with_errors_in_their_place(
    predictor: Predictor, photos: list[Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    images = iter([photos[0], broken, photos[1], tmp_path / "gone.jpg", photos[2]])
    results = list(predictor.predict_many(images, batch_size=2))
    assert [isinstance(result, ImageError) for result in results] == [0, 1, 0, 1, 0]
    assert "broken.jpg" in str(results[1])
    for result, path in zip(results[::2], photos[:3], strict=True):
        assert isinstance(result, Prediction)
        assert_same(result, predictor(path), tolerance=1e-4)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 9, 64])
def test_batch_size_changes_no_prediction(
    batch_size: int, predictor: Predictor, photos: list[Path]
) -> None:
    results = list(predictor.predict_many(photos, batch_size=batch_size))
    assert len(results) == len(photos)
    for result, path in zip(results, photos, strict=True):
        assert isinstance(result, Prediction)
        assert_same(result, predictor(path), tolerance=1e-4)


def test_predict_many_of_no_images_yields_nothing(predictor: Predictor) -> None:
    assert list(predictor.predict_many([])) == []


def test_batch_of_unreadable_images_yields_errors(predictor: Predictor) -> None:
    results = list(predictor.predict_many([b"a", b"b"], batch_size=2))
    assert all(isinstance(result, ImageError) for result in results)
    assert len(results) == 2


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_size_below_one_is_refused(
    batch_size: int, predictor: Predictor, photos: list[Path]
) -> None:
    with pytest.raises((ValueError, ToolchainError)):
        predictor.predict_many(photos, batch_size=batch_size)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((1, 64, 64, 3), np.float32),
        np.zeros((64, 64, 3), np.uint8),
        np.zeros((1, 65, 64, 3), np.uint8),
        np.zeros((1, 3, 64, 64), np.uint8),
    ],
    ids=["float", "no batch", "another size", "channels first"],
)
def test_wrong_pixels_are_refused_with_the_expected_shape(
    pixels: Any, predictor: Predictor
) -> None:
    with pytest.raises(ImageError) as caught:
        predictor.predict_pixels(pixels)
    assert str(pixels.shape) in str(caught.value)
    assert "uint8 [batch, 64, 64, 3]" in str(caught.value.hint)


def test_pixels_of_an_image_have_its_prediction(predictor: Predictor, photos: list[Path]) -> None:
    pixels = predictor.pixels(photos[0])
    assert pixels.dtype == np.uint8
    assert pixels.shape == (64, 64, 3)
    assert_same(predictor.predict_pixels(pixels[None])[0], predictor(photos[0]))


def test_unreadable_image_is_an_image_error(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"gone\.jpg: no such file"):
        predictor(tmp_path / "gone.jpg")


def test_graph_with_two_rows_for_each_image_is_a_model_file_error(
    model: Path, tmp_path: Path, photos: list[Path]
) -> None:
    content = onnx.load(model)
    for name in ("probabilities", "logits"):
        for node in content.graph.node:
            for names in (node.input, node.output):
                names[:] = ["once." + n if n == name else n for n in names]
        twice = onnx.helper.make_node("Concat", [f"once.{name}"] * 2, [name], axis=0)
        content.graph.node.append(twice)
    path = tmp_path / "model.onnx"
    path.write_bytes(content.SerializeToString())
    with Predictor(path) as opened, pytest.raises(ModelFileError, match=r"\(2, 3\) for an image"):
        opened(photos[0])


def test_task_of_the_card_reaches_the_prediction(
    model: Path, tmp_path: Path, photos: list[Path]
) -> None:
    path = with_card(model, tmp_path / "model.onnx", task="multi-label", threshold=0.0)
    with Predictor(path) as predictor:
        assert sorted(predictor(photos[0]).labels) == sorted(CLASSES)


def test_threshold_of_the_card_reaches_the_prediction(
    model: Path, tmp_path: Path, photos: list[Path]
) -> None:
    path = with_card(model, tmp_path / "model.onnx", threshold=0.5)
    with Predictor(path) as predictor:
        assert predictor(photos[0]).threshold == 0.5


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_number_of_threads_changes_no_prediction(
    threads: int, model: Path, predictor: Predictor, photos: list[Path]
) -> None:
    with Predictor(model, threads=threads) as other:
        assert_same(other(photos[0]), predictor(photos[0]), tolerance=1e-4)
