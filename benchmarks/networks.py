"""Model files with random weights, as neither time nor memory depends on the weights."""

from __future__ import annotations

from pathlib import Path

import msgspec

from toolchain.demo.parts import CLASSES
from toolchain.exporters.variants import OPSET
from toolchain.exporters.writers.onnx import build_onnx, finish
from toolchain.machine import installed_versions
from toolchain.networks.resnet import (
    IMAGENET_NORMALISATION,
    Classifier,
    InferenceModel,
    build_network,
)
from toolchain.runtime.card import Card, Preprocessing, Weights


def card_of(arch: str, size: int = Preprocessing().size) -> Card:
    """Return the card of a network with random weights for the classes of machined parts.

    `size` is that of its images in pixels; they are resized to 32 pixels more before.
    """
    return Card(
        classes=CLASSES,
        preprocessing=msgspec.structs.replace(Preprocessing(), size=size, resize_size=size + 32),
        normalisation=IMAGENET_NORMALISATION,
        architecture=arch,
        weights=Weights("random", ""),
        settings_sha256="",
        data_sha256="",
        versions={"rtl": installed_versions()["rtl-toolchain"]},
        format="onnx",
        opset=OPSET,
        ir_version=8,
        created="2026-01-01T00:00:00+00:00",
    )


def random_model(arch: str, path: Path, size: int = Preprocessing().size) -> Path:
    """Write an ONNX file of a network with random weights, and return its path.

    `size` is that of its images in pixels.
    """
    network = build_network(arch, len(CLASSES)).eval()
    inference_model = InferenceModel(Classifier(network, IMAGENET_NORMALISATION), 1.0).eval()
    card = card_of(arch, size)
    finish(build_onnx(inference_model, card), card, path)
    return path
