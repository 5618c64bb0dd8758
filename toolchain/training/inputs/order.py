"""In which order an epoch goes through the training images, and which of them a process takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from toolchain.data.layouts import Sample
from toolchain.training.inputs.seeds import mixed_seed


@dataclass(frozen=True)
class Part:
    """One process's part of a batch, as indices of samples."""

    indices: tuple[int, ...]
    counted: int
    """So many of them count; a process without an image computes one that counts for nothing."""
    step_images: int
    """Images of the step that the batch is part of, in all processes and batches together."""


class Order:
    """The batches of each epoch.

    The order of an epoch follows from the seed and the epoch's number alone. That is all the state
    there is: a resumed run and a run with other `--workers` draw the same batches.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        batch_size: int,
        *,
        seed: int | None,
        balanced: bool = False,
        accumulate: int = 1,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        """`seed` None keeps the samples' own order; `balanced` draws each class alike often.

        `accumulate` are the batches of a step.
        """
        self.count = len(samples)
        self.batch_size = batch_size
        self.step_size = batch_size * accumulate
        self.seed = seed
        self.weights = _balanced_weights(samples) if balanced else None
        self.rank, self.processes = rank, processes
        self.epoch = 0
        # BatchNorm can't train on a single image.
        lonely = seed is not None and self.count > batch_size and self.count % batch_size == 1
        self.used = self.count - 1 if lonely else self.count

    def __len__(self) -> int:
        return -(-self.used // self.batch_size)

    def parts(self) -> Iterator[Part]:
        """Yield this process's part of each batch of the present epoch."""
        indices = self._shuffled()
        for start in range(0, self.used, self.batch_size):
            batch = indices[start : min(start + self.batch_size, self.used)]
            own = batch[self.rank :: self.processes]
            step_start = start - start % self.step_size
            step_images = min(self.step_size, self.used - step_start)
            yield Part(tuple(own or batch[:1]), len(own), step_images)

    def __iter__(self) -> Iterator[list[int]]:
        """Return the parts' indices: what a DataLoader wants of a batch sampler."""
        return (list(part.indices) for part in self.parts())

    def _shuffled(self) -> list[int]:
        if self.seed is None:
            return list(range(self.count))
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch))
        if self.weights is not None:
            drawn = torch.multinomial(
                self.weights, self.count, replacement=True, generator=generator
            )
            return drawn.tolist()
        return torch.randperm(self.count, generator=generator).tolist()


def _balanced_weights(samples: Sequence[Sample]) -> torch.Tensor:
    labels = torch.tensor([sample.label for sample in samples])
    return 1.0 / torch.bincount(labels).double()[labels]
