"""Find the first layer of a file whose output or weights are not those of the trained model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.layer_names import NORMALISE, called_module
from toolchain.backends.torch_eager import EagerBackend
from toolchain.runtime.card import LOGITS, Card
from toolchain.verification.layers.onnx import onnx_layers
from toolchain.verification.layers.outputs import LayerOutput
from toolchain.verification.layers.pt2 import program_layers
from toolchain.verification.layers.torchscript import script_layers
from toolchain.verification.layers.trained import (
    convolution_before,
    last_linear,
    trained_calls,
    trained_layers,
)
from toolchain.verification.layers.weights import diff_weights

LAYER_TOLERANCE = 2e-4
"""Five times what the float32 kernels of torch and onnxruntime differ by in any layer of a
ResNet-152 with random weights, at 224 pixels. This finds what is computed otherwise; a changed
weight is found by comparing the weights, however little it changes an output."""
LAYER_INPUTS = 2
"""Generated inputs that go through the layers; all of their outputs are in memory at once."""


@dataclass(frozen=True)
class LayerReport:
    """The result of a comparison layer by layer."""

    layers: int
    """How many were compared; 0 where the file has none that can be named."""
    first: str | None
    """The first layer beyond the tolerance: its name, operator and difference."""
    first_has_cause: bool
    """Whether it is known which weights of that layer are wrong."""
    uncovered: str | None
    """The first layer with weights that the file does not show, by name or at all."""
    worst: float
    """The largest difference in any layer, relative to max(1, the layer's largest value)."""


def layers_rule(tolerance: float) -> str:
    """Return the rule for a layer, in words."""
    return (
        f"every layer: |a − b| ≤ {tolerance:g} · max(1, largest |b|), for generated inputs; "
        "the weights equal the run's"
    )


def compare_layers(
    path: Path,
    eager: EagerBackend,
    card: Card,
    pixels: NDArray[np.uint8],
    tolerance: float = LAYER_TOLERANCE,
) -> LayerReport:
    """Compare a file with the trained model layer by layer, in the order of the file's nodes.

    `pixels` are uint8 [batch, size, size, 3]; the first LAYER_INPUTS of them are used.
    """
    pixels = pixels[:LAYER_INPUTS]
    layers = _file_layers(path, eager, card, pixels)
    trained = trained_layers(eager, pixels, {layer.name for layer in layers})
    # The sum inside a block is an operator of the file, but no module of the network.
    compared = [layer for layer in layers if layer.name in trained]
    first, has_cause, worst = None, False, 0.0
    for layer in compared:
        reference = trained[layer.name]
        difference = _relative_difference(reference, layer.values)
        worst = float(np.maximum(worst, difference))  # which keeps a NaN
        if first is not None:
            continue
        # Most weights can change by a percent without any output leaving the tolerance.
        cause = diff_weights(eager.classifier.network, layer) if card.precision == "fp32" else None
        if cause or not difference <= tolerance:
            first, has_cause = _described(eager, layer, reference, tolerance, cause), bool(cause)
    uncovered = _uncovered(eager.classifier.network, card, compared)
    return LayerReport(len(compared), first, has_cause, uncovered, worst)


def _uncovered(network: Any, card: Card, compared: list[LayerOutput]) -> str | None:
    """Describe the first layer with weights that was not compared; None where all were.

    Of a file of torch its weights must have been seen too. Those of ONNX are compared by content.
    """
    kinds = {n: type(m).__name__ for n, m in network.named_modules() if not list(m.children())}
    weighted = [name for name, kind in kinds.items() if kind in ("Conv2d", "Linear")]
    seen = set()
    for layer in compared:
        name = last_linear(network) if layer.name == LOGITS else called_module(layer.name)
        if name is not None and (layer.weights or card.format == "onnx"):
            seen |= {name, convolution_before(network, name)}
    missing = [name for name in weighted if name not in seen]
    if not missing:
        return None
    return (
        f"layer {missing[0]}: the file does not show it; {len(weighted) - len(missing)} of "
        f"{len(weighted)} layers with weights can be compared"
    )


def _file_layers(
    path: Path, eager: EagerBackend, card: Card, pixels: NDArray[np.uint8]
) -> list[LayerOutput]:
    if card.format == "onnx":
        return onnx_layers(path, card, pixels)
    if card.format == "pt2":
        return program_layers(path, card, pixels)
    return script_layers(path, card, pixels, trained_calls(eager, pixels[:1]))


def _relative_difference(reference: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Return the largest difference over max(1, the largest value of the reference).

    It is NaN where a value is, and infinite where the shapes differ.
    """
    if reference.shape != found.shape:
        return float("inf")
    return float(np.abs(reference - found).max() / max(1.0, float(np.abs(reference).max())))


def _described(
    eager: EagerBackend,
    layer: LayerOutput,
    reference: NDArray[np.float32],
    tolerance: float,
    cause: str | None,
) -> str:
    """Name a layer, its operator, its difference, and which of its weights are wrong."""
    if layer.values.shape != reference.shape:
        off = f"gives shape {layer.values.shape}, not {reference.shape}"
    else:
        largest = float(np.abs(reference - layer.values).max())
        allowed = tolerance * max(1.0, float(np.abs(reference).max()))
        off = f"off by {largest:.2g}, allowed {allowed:.2g}"
    if cause is None and layer.weights:
        cause = "its weights are the run's"
    return f"{_name_and_operator(eager, layer)}: {off}" + (f"; {cause}" if cause else "")


def _name_and_operator(eager: EagerBackend, layer: LayerOutput) -> str:
    network = eager.classifier.network
    if layer.name == NORMALISE:
        return f"normalise ({layer.operator})"
    if layer.name == LOGITS:
        return f"layer {last_linear(network)} ({layer.operator})"
    name, may_be_folded = layer.name, "conv" in layer.operator.lower()
    convolution = convolution_before(network, called_module(name)) if may_be_folded else None
    if convolution:
        name = f"{convolution} with {name}"
    return f"layer {name} ({layer.operator})"
