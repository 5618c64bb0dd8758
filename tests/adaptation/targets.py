"""Photographs of another camera for tests, and a model that has seen those of a third one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.conftest import draw_stripes
from toolchain.adaptation.classifier import find_classifier, replaced
from toolchain.adaptation.source_features import (
    SourceFeatures,
    features_file,
    read_source_features,
    write_source_features,
)
from toolchain.runtime.onnxfile.metadata import card_text

CLASSES = ("across", "aslant", "down")
PER_CLASS = 35


def draw_target(folder: Path) -> Path:
    """Draw photographs of all classes into a folder; the name begins with the class."""
    for number in range(PER_CLASS):
        for place, label in enumerate(CLASSES):
            draw_stripes(folder / f"{label}-{number:02}.jpg", label, 5000 + place + 3 * number)
    return folder


def model_of_another_camera(model: Path, folder: Path, shift: tuple[float, ...]) -> Path:
    """Copy a model whose logits are `shift` higher for all but the training images that it knows.

    So photographs that it would label right look to it like those of another camera.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copied, data = folder / model.name, model.read_bytes()
    classifier = find_classifier(data, model)
    weight, bias = classifier.read(data)
    card = card_text(model)
    assert card is not None
    copied.write_bytes(replaced(data, classifier, weight, bias + np.array(shift), card))
    known = read_source_features(features_file(model), weight.shape[1], len(weight))
    offset = np.linalg.pinv(weight) @ np.array(shift)
    moved = SourceFeatures((known.features - offset).astype(np.float32), known.labels)
    write_source_features(moved, features_file(copied))
    return copied


def spoil(path: Path) -> None:
    """Cut an image file in two."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
