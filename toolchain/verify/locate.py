"""Where a file leaves the trained model: the first layer whose output differs beyond tolerance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.runtime.card import Card
from toolchain.verify.backends import EagerBackend
from toolchain.verify.layers import (
    LOGITS,
    NORMALISE,
    LayerOutput,
    convolution_of,
    onnx_layers,
    program_layers,
    trained_layers,
)

TOLERANCE = 1e-5
"""Float32 kernels differ by a tenth of it in any layer of a ResNet. It is lower than that of the
outputs, because a small fault is lost on the way there."""
RULE = f"every layer: |a − b| ≤ {TOLERANCE:g} · max(1, largest |b|), by generated inputs"


@dataclass(frozen=True)
class LayerReport:
    """What a comparison layer by layer found."""

    layers: int
    first: str | None
    """The first layer beyond the tolerance: its name, operator and difference."""
    worst: float
    """Largest difference, relative to max(1, the layer's largest value)."""


def compare_layers(
    path: Path, eager: EagerBackend, card: Card, pixels: NDArray[np.uint8]
) -> LayerReport:
    """Compare a file with the trained model layer by layer, in the order of the file's nodes."""
    expected = trained_layers(eager, pixels)
    first, worst, compared = None, 0.0, 0
    for found in _layers(path, card, pixels):
        reference = expected.get(found.name)
        if reference is None or reference.shape != found.values.shape:
            continue
        compared += 1
        difference = _relative(reference, found.values)
        worst = max(worst, difference)
        if first is None and not difference <= TOLERANCE:
            largest = float(np.abs(reference - found.values).max())
            allowed = TOLERANCE * max(1.0, float(np.abs(reference).max()))
            first = f"{_named(eager, found)}: off by {largest:.2g}, allowed {allowed:.2g}"
    return LayerReport(compared, first, worst)


def where_outputs_part(
    card: Card, probabilities: NDArray[np.float32], logits: NDArray[np.float32]
) -> str | None:
    """Name the stage behind the network, where the logits are right and the probabilities wrong."""
    scaled = logits.astype(np.float64) / card.temperature
    if card.task == "multi-label":
        expected = 1 / (1 + np.exp(-scaled))
    else:
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        expected = powers / powers.sum(axis=1, keepdims=True)
    difference = float(np.abs(expected - probabilities).max())
    if difference <= TOLERANCE * 10:
        return None
    stage = "sigmoid" if card.task == "multi-label" else "softmax"
    return f"{stage}: the logits are right, the probabilities are off by {difference:.2g}"


def _layers(path: Path, card: Card, pixels: NDArray[np.uint8]) -> list[LayerOutput]:
    if card.format == "onnx":
        return onnx_layers(path, card, pixels)
    return program_layers(path, card, pixels) if card.format == "pt2" else []


def _named(eager: EagerBackend, found: LayerOutput) -> str:
    if found.name == NORMALISE:
        return f"normalise ({found.operator})"
    if found.name == LOGITS:
        return f"layer fc ({found.operator})"
    convolution = convolution_of(eager, found.name) if found.operator == "Conv" else None
    both = f"{convolution} with {found.name}" if convolution else found.name
    return f"layer {both} ({found.operator})"


def _relative(reference: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Give the largest difference, NaN where a value is none."""
    return float(np.abs(reference - found).max() / max(1.0, float(np.abs(reference).max())))
