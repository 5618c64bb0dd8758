"""Batches of pixels and labels, decoded in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from toolchain.data.layouts import Sample
from toolchain.errors import DataError, ImageError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.image import read_image
from toolchain.runtime.preprocess import preprocess
from toolchain.training.augment import View, seed_view

Item = tuple[Tensor, int]
Batch = tuple[Tensor, Tensor]


class Views(Dataset[Item | ImageError]):
    """One view of each sample: pixels uint8 [size, size, 3] and the label.

    Without `view` it is the clean view, the one that evaluation and the device see.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocessing: Preprocessing,
        *,
        view: View | None = None,
        seed: int = 0,
    ) -> None:
        self.samples = samples
        self.preprocessing = preprocessing
        self.view = view
        self.seed = seed
        # Shared with the worker processes, which live through all epochs.
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item | ImageError:
        sample = self.samples[index]
        try:
            image = read_image(sample.path, self.preprocessing)
        except ImageError as error:
            return error  # raised in a worker it would come back as a page of traceback
        if self.view is None:
            pixels = preprocess(image, self.preprocessing)
        else:
            with torch.random.fork_rng(devices=[]):
                seed_view(self.seed, int(self.epoch), index)
                pixels = self.view(image)
        return torch.from_numpy(pixels.copy()), sample.label


def make_loader(
    views: Views, *, batch_size: int, workers: int, shuffle: bool, seed: int
) -> DataLoader[Batch]:
    """Give a loader of (pixels uint8 [batch, size, size, 3], labels int64 [batch])."""
    generator = torch.Generator().manual_seed(seed)
    workers = usable_cores() if workers < 0 else workers
    workers = min(workers, -(-len(views) // batch_size))
    return DataLoader(
        views,  # type: ignore[arg-type]  # our collate turns items into batches
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=workers,
        collate_fn=_collate,
        generator=generator,
        persistent_workers=workers > 0,
    )


def batches(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """Give the loader's batches; DataError for an image that has become unreadable."""
    for batch in loader:
        if isinstance(batch, ImageError):
            raise DataError(
                f"an image can't be read: {batch}", hint="remove or replace it and start again"
            )
        yield batch


def _collate(items: list[Item | ImageError]) -> Batch | ImageError:
    pixels, labels = [], []
    for item in items:
        if isinstance(item, ImageError):
            return item
        pixels.append(item[0])
        labels.append(item[1])
    return torch.stack(pixels), torch.tensor(labels)
