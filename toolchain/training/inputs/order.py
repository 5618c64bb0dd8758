"""The batches of an epoch: in which order, and which images of a batch each process computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from toolchain.data.layouts import Sample
from toolchain.training.inputs.seeds import mixed_seed


@dataclass(frozen=True)
class ProcessBatch:
    """The images of a batch that one process computes, as indices of samples."""

    indices: tuple[int, ...]
    counted: int
    """How many of them enter loss and metrics: all, except that a process for which the batch has
    no image computes one that is not counted, because every process must take every step."""
    step_images: int
    """Images of the whole optimiser step, over all processes and accumulated batches."""


class Order:
    """The batches of each epoch; a batch sampler for a DataLoader.

    The order depends on the seed and on `epoch` alone, so a resumed run and a run with other
    `--workers` have the same batches. Set `epoch` before each iteration.
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
        """With `seed` None samples keep their order; `balanced` draws all classes equally often.

        `accumulate` is the number of batches in an optimiser step.
        """
        self.count = len(samples)
        self.batch_size = batch_size
        self.step_size = batch_size * accumulate
        self.seed = seed
        self.weights = _balanced_weights(samples) if balanced else None
        self.rank, self.processes = rank, processes
        self.epoch = 0
        # BatchNorm can't train on a batch of one image: it is left out, another one each epoch.
        last_has_one = self.count > batch_size and self.count % batch_size == 1
        self.used = self.count - 1 if seed is not None and last_has_one else self.count

    def __len__(self) -> int:
        return -(-self.used // self.batch_size)

    def process_batches(self) -> Iterator[ProcessBatch]:
        """Yield what this process computes of each batch of the epoch `epoch`."""
        indices = self._shuffled()
        for start in range(0, self.used, self.batch_size):
            batch = indices[start : min(start + self.batch_size, self.used)]
            own = batch[self.rank :: self.processes]
            step_start = start - start % self.step_size
            step_images = min(self.step_size, self.used - step_start)
            yield ProcessBatch(tuple(own or batch[:1]), len(own), step_images)

    def __iter__(self) -> Iterator[list[int]]:
        """Return the indices of each batch of this process, as a batch sampler does."""
        return (list(batch.indices) for batch in self.process_batches())

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
