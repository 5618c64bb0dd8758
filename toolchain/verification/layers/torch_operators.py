"""What TorchScript and .pt2 layers share: torch's operators, their weights, and recorded runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import run_on_pixels
from toolchain.verification.layers.outputs import LayerOutput, Weights, normalised_by_predictor

if TYPE_CHECKING:
    import torch

OPERATORS = {
    "Conv2d": ("_convolution", "conv2d", "convolution"),
    "BatchNorm2d": ("batch_norm",),
    "ReLU": ("relu",),
    "MaxPool2d": ("max_pool2d",),
    "AdaptiveAvgPool2d": ("mean", "adaptive_avg_pool2d"),
    "Linear": ("linear",),
}
"""Class of a module → the operators that compute it; an in-place operator ends in `_` as well."""
WEIGHT_ARGUMENTS = {
    "Conv2d": ("weight", "bias"),
    "BatchNorm2d": ("weight", "bias", "running_mean", "running_var"),
    "Linear": ("weight", "bias"),
}
"""An operator's arguments from the second on; the first is its input."""
TRAIN_MODE_ARGUMENT = 5
"""The place of batch_norm's argument `training`."""


def run_recorded(
    compute: Callable[[torch.Tensor], list[LayerOutput]], card: Card, pixels: NDArray[np.uint8]
) -> list[LayerOutput]:
    """Return the layers of a file for pixels uint8 [batch, size, size, 3], as one batch.

    `compute` runs the graph once on what it takes and returns the layers of that run.
    """
    import torch

    runs: list[list[LayerOutput]] = []
    graph_inputs: list[NDArray[Any]] = []

    def run_once(given: NDArray[Any]) -> list[NDArray[np.float32]]:
        graph_inputs.append(given)
        with torch.inference_mode():
            runs.append(compute(torch.from_numpy(given)))
        return []

    run_on_pixels(run_once, pixels, card)
    layers = [
        LayerOutput(
            parts[0].name,
            parts[0].operator,
            np.concatenate([part.values for part in parts])[: len(pixels)],
            parts[0].weights,
        )
        for parts in zip(*runs, strict=True)
    ]
    normalised = normalised_by_predictor(card, graph_inputs, len(pixels))
    # Where the predictor normalises, it takes the place of the graph's own first layer.
    return normalised + layers[1:] if normalised else layers


def operator_with_mode(operator: str, arguments: Sequence[Any]) -> str:
    """Return an operator's name, followed by its mode where that is train mode."""
    if module_kind(operator) == "BatchNorm2d" and arguments[TRAIN_MODE_ARGUMENT]:
        return f"{operator} in train mode"
    return operator


def operator_weights(operator: str, arguments: Sequence[Any]) -> Weights:
    """Copy the weights among an operator's arguments, before the operator may change them."""
    names = WEIGHT_ARGUMENTS.get(module_kind(operator) or "", ())
    return {
        name: copied(value)
        for name, value in zip(names, arguments[1:], strict=False)
        if value is not None
    }


def module_kind(operator: str) -> str | None:
    """Return the class of the modules that an operator computes; None for any other operator."""
    name = operator.removesuffix("_")
    return next((kind for kind, operators in OPERATORS.items() if name in operators), None)


def copied(tensor: Any) -> NDArray[np.float32]:
    """Return a copy of a tensor, which a later operator may overwrite."""
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy().copy()
    return array
