"""Batches of pixels and targets, decoded in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from toolchain.data.layouts import Sample
from toolchain.errors import DataError, ImageError
from toolchain.progress import ProgressReporter
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.training.inputs.augment import View
from toolchain.training.inputs.order import Order
from toolchain.training.inputs.seeds import seed_view

MOST_BYTES_IN_MEMORY = 1_000_000_000
"""Clean pixels up to this size are kept: about 6,600 images of 224 pixels."""

Item = Tensor | ImageError


class Batch(NamedTuple):
    """What one step computes."""

    inputs: Tensor
    """Pixels uint8 [batch, size, size, 3], or features float32 [batch, …]."""
    targets: Tensor
    """Class indices int64 [batch], or for multi-label float32 [batch, classes]."""
    indices: tuple[int, ...]
    """Which samples they are."""
    counted: int
    """So many of them count: all, but in a process that had none left."""
    step_images: int
    """Images of the step that it is part of, in all processes and batches."""


class Source(Protocol):
    """Where the batches of a split come from."""

    samples: Sequence[Sample]
    targets: Tensor

    def __len__(self) -> int:
        """Return the batches of an epoch."""

    def epoch(self, number: int) -> Iterator[Batch]:
        """Return the batches of an epoch."""


class Views(Dataset[Item]):
    """One view of each sample, pixels uint8 [size, size, 3].

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
        self.clean: list[NDArray[np.uint8] | ImageError] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item:
        try:
            pixels = self._pixels(index)
        except ImageError as error:
            return error  # raised in a worker it would come back as a page of traceback
        return torch.from_numpy(pixels.copy())

    def fits_in_memory(self) -> bool:
        """Say whether what never changes between epochs is small enough to be read once."""
        of_clean = self.view is None or self.view.of_clean
        return of_clean and len(self) * self.preprocessing.size**2 * 3 <= MOST_BYTES_IN_MEMORY

    def read_once(self, progress: ProgressReporter, label: str) -> None:
        """Decode every image now, in threads, and keep the clean pixels."""

        def read(sample: Sample) -> NDArray[np.uint8] | ImageError:
            try:
                return clean_pixels(sample, self.preprocessing)
            except ImageError as error:
                return error

        with ThreadPoolExecutor(usable_cores()) as pool:
            read_images = pool.map(read, self.samples)
            self.clean = list(progress.track(read_images, label, len(self)))

    def _pixels(self, index: int) -> NDArray[np.uint8]:
        if self.view is None:
            return self._clean(index)
        clean = self._clean(index) if self.view.of_clean else None
        seeds = (self.seed, int(self.epoch), index)
        return seen(self.view, self.samples[index], self.preprocessing, seeds, clean)

    def _clean(self, index: int) -> NDArray[np.uint8]:
        if self.clean is None:
            return clean_pixels(self.samples[index], self.preprocessing)
        kept = self.clean[index]
        if isinstance(kept, ImageError):
            raise kept
        return kept


class PixelSource:
    """Batches of pixels, a view of each image."""

    def __init__(self, views: Views, targets: Tensor, order: Order, workers: int) -> None:
        """`workers` are the processes that decode; -1 takes one for each core."""
        self.views, self.targets, self.order = views, targets, order
        self.samples = views.samples
        self.workers = usable_cores() if workers < 0 else workers
        self.loader: DataLoader[Item] | None = None

    def __len__(self) -> int:
        return len(self.order)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; DataError for an image that has become unreadable."""
        self.views.epoch.fill_(number)
        self.order.epoch = number
        self.loader = self.loader or self._new_loader()
        for part, pixels in zip(self.order.parts(), self.loader, strict=True):
            targets = self.targets[list(part.indices)]
            yield Batch(readable(pixels), targets, part.indices, part.counted, part.step_images)

    def _new_loader(self) -> DataLoader[Item]:
        # Images that were read once need no worker processes.
        workers = 0 if self.views.clean is not None else min(self.workers, len(self.order))
        return DataLoader(
            self.views,
            batch_sampler=self.order,
            num_workers=workers,
            collate_fn=collate,
            # Its own: a DataLoader draws a number each epoch, which nothing here depends on.
            generator=torch.Generator(),
            persistent_workers=workers > 0,
        )


def clean_source(
    samples: Sequence[Sample],
    classes: int,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int,
) -> PixelSource:
    """Return the clean views of a split in its own order, to be evaluated."""
    order = Order(samples, batch_size, seed=None)
    return PixelSource(Views(samples, preprocessing), targets_of(samples, classes), order, workers)


def targets_of(samples: Sequence[Sample], classes: int) -> Tensor:
    """Return class indices int64 [images]; for multi-label 0 and 1, float32 [images, classes]."""
    if all(isinstance(sample.label, int) for sample in samples):
        return torch.tensor([sample.label for sample in samples])
    targets = torch.zeros(len(samples), classes)
    for row, sample in zip(targets, samples, strict=True):
        row[torch.tensor(sample.label, dtype=torch.int64)] = 1.0
    return targets


def labels_of(targets: Tensor) -> NDArray[np.int64] | NDArray[np.bool_]:
    """Return targets as the metrics want them: int64 [images], or bool [images, classes]."""
    return targets.numpy() if targets.ndim == 1 else targets.numpy() > 0.5


def clean_pixels(sample: Sample, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return a sample's clean view; ImageError where it can't be read."""
    return preprocess(read_image(sample.path, preprocessing), preprocessing)


def seen(
    view: View,
    sample: Sample,
    preprocessing: Preprocessing,
    seeds: tuple[int, ...],
    clean: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Return a random view of an image, the one that these seeds name.

    `clean` is its clean view, for views that start from that, where it has been made already.
    """
    if view.of_clean:
        pixels = clean_pixels(sample, preprocessing) if clean is None else clean
        start = Image.fromarray(pixels)
    else:
        start = read_image(sample.path, preprocessing)
    with torch.random.fork_rng(devices=[]):
        seed_view(*seeds)
        return view.make(start)


def readable(item: Item) -> Tensor:
    """Return pixels; DataError for an image that has become unreadable since the audit."""
    if isinstance(item, ImageError):
        raise DataError(
            f"an image can't be read: {item}", hint="remove or replace it and start again"
        )
    return item


def collate(items: list[Item]) -> Item:
    """Stack pixels; of unreadable images, give the first one's error."""
    pixels = []
    for item in items:
        if isinstance(item, ImageError):
            return item
        pixels.append(item)
    return torch.stack(pixels)
