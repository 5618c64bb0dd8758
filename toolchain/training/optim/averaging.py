"""The exponential moving average (EMA) of the weights, validated and kept in their place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from toolchain.networks.resnet import State


class MovingAverage:
    """After each step: average ← decay · average + (1 − decay) · weights.

    The first steps use (1 + n) / (10 + n) where that is less than `decay`, as TensorFlow's
    ExponentialMovingAverage does: otherwise the average of a short run would be mostly its start.
    """

    def __init__(self, weights: State, decay: float) -> None:
        """`weights` are the live tensors, which training changes in place."""
        self.weights = weights
        self.decay = decay
        self.steps = 0
        self.average = {name: tensor.detach().clone() for name, tensor in weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights after a step to the average; integer tensors (counters) are copied."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        floats = [name for name, tensor in self.weights.items() if tensor.is_floating_point()]
        torch._foreach_lerp_(
            [self.average[name] for name in floats],
            [self.weights[name] for name in floats],
            1 - decay,
        )
        for name in self.weights.keys() - set(floats):
            self.average[name].copy_(self.weights[name])

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Copy the average into the live weights, and restore these when the block ends."""
        saved = {name: tensor.detach().clone() for name, tensor in self.weights.items()}
        copy_into(self.weights, self.average)
        try:
            yield
        finally:
            copy_into(self.weights, saved)


@torch.no_grad()
def copy_into(tensors: State, values: State) -> None:
    """Overwrite tensors in place by the values of the same names."""
    for name, tensor in tensors.items():
        tensor.copy_(values[name])
