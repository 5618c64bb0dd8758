"""Where a file leaves the trained model: the first layer whose output differs beyond tolerance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.layer_names import LOGITS, NORMALISE, called_module
from toolchain.backends.torch_eager import EagerBackend
from toolchain.runtime.card import Card
from toolchain.verification.layers.trained import (
    LayerOutput,
    convolution_of,
    onnx_layers,
    trained_calls,
    trained_layers,
)
from toolchain.verification.layers.pt2 import program_layers
from toolchain.verification.layers.torchscript import script_layers
from toolchain.verification.layers.weights import diff_weights, last_linear

TOLERANCE = 2e-4
"""Five times what the float32 kernels of torch and onnxruntime differ by in any layer of a
ResNet-152 with random weights, at 224 pixels. It finds what is computed otherwise; a weight that is
another one is found in itself, however little it shows."""
INPUTS = 2
"""So many generated inputs go through the layers; all of their outputs are in memory at once."""


@dataclass(frozen=True)
class LayerReport:
    """What a comparison layer by layer found."""

    layers: int
    first: str | None
    """The first layer beyond the tolerance: its name, operator and difference."""
    worst: float
    """Largest difference, relative to max(1, the layer's largest value)."""


def rule(tolerance: float) -> str:
    """Say when a layer passes."""
    return (
        f"every layer: |a − b| ≤ {tolerance:g} · max(1, largest |b|), by generated inputs, "
        "and the run's weights"
    )


def compare_layers(
    path: Path,
    eager: EagerBackend,
    card: Card,
    pixels: NDArray[np.uint8],
    tolerance: float = TOLERANCE,
) -> LayerReport:
    """Compare a file with the trained model layer by layer, in the order of the file's nodes."""
    pixels = pixels[:INPUTS]
    layers = _layers(path, eager, card, pixels)
    expected = trained_layers(eager, pixels, {found.name for found in layers})
    first, worst, compared = None, 0.0, 0
    for found in layers:
        reference = expected.get(found.name)
        if reference is None:  # a sum inside a block, which is no module of its own
            continue
        compared += 1
        difference = _relative(reference, found.values)
        worst = float(np.maximum(worst, difference))
        if first is None:
            # Most weights can change by a percent without any output leaving the tolerance.
            cause = (
                diff_weights(eager.classifier.network, found) if card.precision == "fp32" else None
            )
            if cause or not difference <= tolerance:
                first = _described(eager, found, reference, tolerance, cause)
    return LayerReport(compared, first, worst)


def _layers(
    path: Path, eager: EagerBackend, card: Card, pixels: NDArray[np.uint8]
) -> list[LayerOutput]:
    if card.format == "onnx":
        return onnx_layers(path, card, pixels)
    if card.format == "pt2":
        return program_layers(path, card, pixels)
    return script_layers(path, card, pixels, trained_calls(eager, pixels[:1]))


def _described(
    eager: EagerBackend,
    found: LayerOutput,
    reference: NDArray[np.float32],
    tolerance: float,
    cause: str | None,
) -> str:
    """Name a layer, its operator and its difference, and what in it is wrong."""
    if found.values.shape != reference.shape:
        off = f"gives shape {found.values.shape}, not {reference.shape}"
    else:
        largest = float(np.abs(reference - found.values).max())
        allowed = tolerance * max(1.0, float(np.abs(reference).max()))
        off = f"off by {largest:.2g}, allowed {allowed:.2g}"
    if cause is None and found.weights:
        cause = "its weights are the run's"
    return f"{_named(eager, found)}: {off}" + (f"; {cause}" if cause else "")


def _named(eager: EagerBackend, found: LayerOutput) -> str:
    network = eager.classifier.network
    if found.name == NORMALISE:
        return f"normalise ({found.operator})"
    if found.name == LOGITS:
        return f"layer {last_linear(network)} ({found.operator})"
    folded = "Conv" in found.operator or "conv" in found.operator
    convolution = convolution_of(network, called_module(found.name)) if folded else None
    both = f"{convolution} with {found.name}" if convolution else found.name
    return f"layer {both} ({found.operator})"


def _relative(reference: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Return the largest difference; NaN where a value is none, infinity where the shapes differ."""
    if reference.shape != found.shape:
        return float("inf")
    return float(np.abs(reference - found).max() / max(1.0, float(np.abs(reference).max())))
