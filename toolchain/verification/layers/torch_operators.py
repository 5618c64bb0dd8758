"""What files that torch computes share: operators, what they hold, and runs that are recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import run_on_pixels
from toolchain.verification.layers.trained import LayerOutput, Weights, normalised_by_predictor

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
"""What each kind of module computes, as torch names it; one that works in place has a `_` more."""
HELD = {
    "Conv2d": ("weight", "bias"),
    "BatchNorm2d": ("weight", "bias", "running_mean", "running_var"),
    "Linear": ("weight", "bias"),
}
"""An operator's arguments behind its input."""
TRAINING = 5
"""Which argument of batch_norm says that it is in train mode."""


def run_recorded(
    compute: Callable[[torch.Tensor], object],
    seen: list[LayerOutput],
    card: Card,
    pixels: NDArray[np.uint8],
) -> list[LayerOutput]:
    """Let the pixels through the card's door, and give what was seen behind it as one batch."""
    import torch

    runs: list[list[LayerOutput]] = []
    given_pieces: list[NDArray[Any]] = []

    def once(given: NDArray[Any]) -> list[NDArray[np.float32]]:
        given_pieces.append(given)
        with torch.inference_mode():
            compute(torch.from_numpy(given))
        runs.append(list(seen))
        seen.clear()
        return []

    run_on_pixels(once, pixels, card)
    whole = [
        LayerOutput(
            parts[0].name,
            parts[0].operator,
            np.concatenate([part.values for part in parts])[: len(pixels)],
            parts[0].weights,
        )
        for parts in zip(*runs, strict=True)
    ]
    door = normalised_by_predictor(card, given_pieces, len(pixels))
    return door + whole[1:] if door else whole


def described(operator: str, given: Sequence[Any]) -> str:
    """Name an operator, and its mode where that is not what a served model should have."""
    if kind_of(operator) == "BatchNorm2d" and given[TRAINING]:
        return f"{operator} in train mode"
    return operator


def held_by(operator: str, given: Sequence[Any]) -> Weights:
    """Copy the weights among an operator's arguments, before it may change them."""
    keys = HELD.get(kind_of(operator) or "", ())
    return {
        key: array_of(value)
        for key, value in zip(keys, given[1:], strict=False)
        if value is not None
    }


def array_of(value: Any) -> NDArray[np.float32]:
    """Copy a tensor."""
    copied: NDArray[np.float32] = value.detach().float().cpu().numpy().copy()
    return copied


def kind_of(operator: str) -> str | None:
    """Name the kind of module that computes an operator."""
    name = operator.removesuffix("_")
    return next((kind for kind, operators in OPERATORS.items() if name in operators), None)
