"""What one layer of a model file computes and holds, whatever the format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.layer_names import NORMALISE
from toolchain.runtime.card import Card

PREDICTOR = "in the predictor"
"""Takes the operator's place where normalisation is not in the graph: its input is `tensor`."""
Weights = Mapping[str, NDArray[np.float32]]
"""An operator's weights by the names of torch's parameters and buffers, such as `running_mean`."""


@dataclass(frozen=True, eq=False)
class LayerOutput:
    """The output of one layer of a file."""

    name: str
    """By `toolchain.backends.layer_names`."""
    operator: str
    values: NDArray[np.float32]
    """Its first axis is the batch."""
    weights: Weights = field(default_factory=dict)
    """Empty for an operator without weights, or where the format hides them."""


def normalised_by_predictor(card: Card, given: list[NDArray[Any]], count: int) -> list[LayerOutput]:
    """Return layer `normalise` of a file that takes a tensor; an empty list for other files.

    Such a file's first layer is in the predictor. `given` are the tensors that the graph was given,
    `count` the number of images in them: a fixed batch is filled up with copies.
    """
    if card.input != "tensor":
        return []
    return [LayerOutput(NORMALISE, PREDICTOR, np.concatenate(given)[:count])]
