"""The moving average of the weights (EMA): steadier than the last step, and judged in its place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from toolchain.networks.resnet import State


class MovingAverage:
    """average ← decay · average + (1 − decay) · weights, after each step.

    The first steps use (1 + n) / (10 + n) where that is less than `decay` (TensorFlow's
    ExponentialMovingAverage): otherwise a short run would judge little but its random start.
    """

    def __init__(self, live: State, decay: float) -> None:
        """`live` are the tensors that training changes in place."""
        self.live = live
        self.decay = decay
        self.steps = 0
        self.average = {name: tensor.detach().clone() for name, tensor in live.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take a step of the weights into the average; counters are copied."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        floats = [name for name, tensor in self.live.items() if tensor.is_floating_point()]
        torch._foreach_lerp_(
            [self.average[name] for name in floats], [self.live[name] for name in floats], 1 - decay
        )
        for name in self.live.keys() - set(floats):
            self.average[name].copy_(self.live[name])

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in the weights' place for the length of the block."""
        kept = {name: tensor.detach().clone() for name, tensor in self.live.items()}
        copy_into(self.live, self.average)
        try:
            yield
        finally:
            copy_into(self.live, kept)


@torch.no_grad()
def copy_into(live: State, values: State) -> None:
    """Overwrite tensors in place."""
    for name, tensor in live.items():
        tensor.copy_(values[name])
