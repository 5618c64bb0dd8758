"""Which photographs of the other camera a training step sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from toolchain.data.layouts import Sample
from toolchain.training.alignment.images import UNKNOWN
from toolchain.training.inputs.order import Order
from toolchain.training.inputs.seeds import mixed_seed

LABELLED_SHARE = 0.25
"""Of a step's photographs, where some have labels: as many draws of these."""


class TargetOrder(Order):
    """Batches of photographs, as many as there are batches of training images.

    The first `labelled` of each batch have labels. All photographs are drawn alike often, those
    with a label in their places too. The order depends on the seed and on `epoch` alone.
    """

    def __init__(
        self, samples: Sequence[Sample], batches: int, batch_size: int, *, seed: int
    ) -> None:
        super().__init__(samples, batch_size, seed=seed)
        self.samples = samples
        self.used = batches * batch_size
        self.known = [i for i, sample in enumerate(samples) if sample.label != UNKNOWN]
        self.labelled = labelled_places(batch_size) if self.known else 0

    def _shuffled(self) -> list[int]:
        # The training images' order has the same seed; their first numbers must not be these.
        generator = torch.Generator().manual_seed(mixed_seed(self.seed or 0, self.epoch, 1))
        batches = self.used // self.batch_size
        rest = self.batch_size - self.labelled
        known = _drawn(self.known, batches * self.labelled, generator)
        others = _drawn(list(range(self.count)), batches * rest, generator)
        return [
            index
            for batch in range(batches)
            for index in (
                *known[batch * self.labelled : (batch + 1) * self.labelled],
                *others[batch * rest : (batch + 1) * rest],
            )
        ]


def labelled_places(batch_size: int) -> int:
    """Return how many photographs of a batch have labels, where some have any."""
    return max(1, int(batch_size * LABELLED_SHARE))


def repeats_of(training: int, labelled: int) -> int:
    """Return how often labelled photographs are repeated among training images, at least once."""
    share = LABELLED_SHARE / (1 - LABELLED_SHARE)
    return max(1, round(share * training / labelled))


def _drawn(indices: list[int], count: int, generator: torch.Generator) -> list[int]:
    """Return so many of the indices, all of them once in each round, in a random order."""
    drawn: list[int] = []
    while len(drawn) < count:
        order = torch.randperm(len(indices), generator=generator).tolist()
        drawn += [indices[place] for place in order]
    return drawn[:count]
