"""`decode_scale` on the card: every stage computes the same pixels of a large photograph."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.runtime.tiny import tiny_card, tiny_model, write
from toolchain.backends.outputs import pixels_of
from toolchain.data.layouts import Sample
from toolchain.runs.settings_file import read_settings
from toolchain.runtime.card import Card, Preprocessing, encode_card
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.predictor import Predictor
from toolchain.training.features.compute import RowPixels
from toolchain.training.inputs.augment import Augmentation
from toolchain.training.inputs.samples import PixelDataset, clean_source
from toolchain.verification.levels.torchvision_pixels import reference_stages

SCALED = Preprocessing(size=8, resize_size=9, decode_scale=4)
WHOLE = Preprocessing(size=8, resize_size=9)

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph of 3 million pixels, whose details scaled decoding smooths in its own way."""
    y, x = np.mgrid[:1500, :2000]
    waves = [127 + 120 * np.sin(x / 7 + k) * np.cos(y / (5 + k)) for k in range(3)]
    grain = np.random.default_rng(0).normal(0, 30, (1500, 2000, 3))
    pixels = np.clip(np.stack(waves, axis=2) + grain, 0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    Image.fromarray(pixels).save(path, quality=85)
    return path


def sample(path: Path) -> Sample:
    return Sample(path, 0, hashlib.sha256(path.read_bytes()).hexdigest())


def card(preprocessing: Preprocessing) -> Card:
    return tiny_card(preprocessing=preprocessing)


def one(item: Any) -> Pixels:
    assert isinstance(item, torch.Tensor)
    return item.numpy()


def evaluated(path: Path, preprocessing: Preprocessing) -> Pixels:
    source = clean_source([sample(path)], 2, preprocessing, batch_size=1, workers=0)
    [batch] = source.epoch(0)
    return one(batch.inputs[0])


def predicted(path: Path, preprocessing: Preprocessing, source: Any) -> Pixels:
    model = write(tiny_model(card=encode_card(card(preprocessing))), path.with_suffix(".onnx"))
    with Predictor(model, cache=False) as predictor:
        return predictor.pixels(source)


STAGES: dict[str, Callable[[Path, Preprocessing], Pixels]] = {
    "training": lambda path, given: one(PixelDataset([sample(path)], given)[0, 0]),
    "cached features": lambda path, given: one(
        RowPixels([(sample(path), None)], given, None, seed=0)[0]
    ),
    "evaluation": evaluated,
    "calibration and references": lambda path, given: pixels_of(card(given), path, "photo"),
    "verification, predictor": lambda path, given: pixels_of(
        card(given), path.read_bytes(), "photo"
    ),
    "verification, torchvision": lambda path, given: (
        reference_stages(path.read_bytes(), given).cropped
    ),
    "prediction of a path": lambda path, given: predicted(path, given, path),
    "prediction of bytes": lambda path, given: predicted(path, given, path.read_bytes()),
    "prediction of a file": lambda path, given: predicted(
        path, given, io.BytesIO(path.read_bytes())
    ),
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_computes_the_pixels_of_the_scaled_photograph(stage: str, photo: Path) -> None:
    scaled = STAGES[stage](photo, SCALED)
    np.testing.assert_array_equal(scaled, STAGES["training"](photo, SCALED))
    assert not np.array_equal(scaled, STAGES[stage](photo, WHOLE))


def test_augmented_views_start_from_the_scaled_photograph(photo: Path) -> None:
    seen: list[tuple[int, int]] = []

    class Recording(Augmentation):
        def apply(self, image: Image.Image) -> Pixels:
            seen.append(image.size)
            return super().apply(image)

    settings = read_settings(None, {"data": "photos", "augment": "s3"})
    augmentation = Recording(settings)
    PixelDataset([sample(photo)], SCALED, augmentation=augmentation)[0, 0]
    RowPixels([(sample(photo), 0)], SCALED, augmentation, seed=0)[0]
    assert seen == [read_image(photo, SCALED).size] * 2
    assert seen[0] == (250, 188)


def test_the_card_of_a_run_carries_the_setting() -> None:
    from toolchain.training.setup import preprocessing_of

    settings = read_settings(None, {"data": "photos", "decode_scale": 2})
    assert preprocessing_of(settings).decode_scale == 2
