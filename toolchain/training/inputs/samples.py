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
from toolchain.training.inputs.augment import Augmentation
from toolchain.training.inputs.order import Order
from toolchain.training.inputs.seeds import seed_view

MOST_BYTES_IN_MEMORY = 1_000_000_000
"""Preprocessed pixels up to this size are kept in memory: about 6,600 images of 224 pixels."""

PixelsOrError = Tensor | ImageError
"""Pixels uint8 [size, size, 3] of one image or [batch, size, size, 3] of a batch.

An error takes their place on the way from a worker process, which would otherwise add a page of
traceback to it.
"""


class Batch(NamedTuple):
    """What one process computes of a batch."""

    inputs: Tensor
    """Pixels uint8 [batch, size, size, 3], or features float32 [batch, …]."""
    targets: Tensor
    """Class indices int64 [batch], or for multi-label float32 [batch, classes]."""
    indices: tuple[int, ...]
    """Indices of the samples."""
    counted: int
    """How many of them enter loss and metrics; see `ProcessBatch`."""
    step_images: int
    """Images of the whole optimiser step, over all processes and accumulated batches."""


class BatchSource(Protocol):
    """The batches of a split, as pixels or as features."""

    samples: Sequence[Sample]
    targets: Tensor

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""

    def epoch(self, number: int) -> Iterator[Batch]:
        """Return the batches of an epoch."""


class PixelDataset(Dataset[PixelsOrError]):
    """The pixels of each sample, uint8 [size, size, 3].

    Without `augmentation` they are preprocessed only, as in evaluation and on the device: the clean
    view.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocessing: Preprocessing,
        *,
        augmentation: Augmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.samples = samples
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        # In shared memory: worker processes keep running over all epochs and read it.
        self.epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self.kept: list[NDArray[np.uint8] | ImageError] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> PixelsOrError:
        try:
            pixels = self._pixels(index)
        except ImageError as error:
            return error
        return torch.from_numpy(pixels.copy())

    def fits_in_memory(self) -> bool:
        """Return whether epochs need the preprocessed pixels only, and these fit."""
        enough = self.augmentation is None or self.augmentation.takes_preprocessed
        return enough and len(self) * self.preprocessing.size**2 * 3 <= MOST_BYTES_IN_MEMORY

    def read_once(self, progress: ProgressReporter, label: str) -> None:
        """Decode and preprocess every image now, in threads, and keep the pixels in memory."""

        def read(sample: Sample) -> NDArray[np.uint8] | ImageError:
            try:
                return clean_pixels(sample, self.preprocessing)
            except ImageError as error:
                return error

        with ThreadPoolExecutor(usable_cores()) as pool:
            images = pool.map(read, self.samples)
            self.kept = list(progress.track(images, label, len(self)))

    def _pixels(self, index: int) -> NDArray[np.uint8]:
        if self.augmentation is None:
            return self._clean(index)
        clean = self._clean(index) if self.augmentation.takes_preprocessed else None
        seeds = (self.seed, int(self.epoch), index)
        sample = self.samples[index]
        return augmented_pixels(self.augmentation, sample, self.preprocessing, seeds, clean)

    def _clean(self, index: int) -> NDArray[np.uint8]:
        if self.kept is None:
            return clean_pixels(self.samples[index], self.preprocessing)
        kept = self.kept[index]
        if isinstance(kept, ImageError):
            raise kept
        return kept


class PixelSource:
    """Batches of pixels, augmented anew in each epoch."""

    def __init__(self, dataset: PixelDataset, targets: Tensor, order: Order, workers: int) -> None:
        """`workers` is the number of processes that decode; -1 is one for each core."""
        self.dataset, self.targets, self.order = dataset, targets, order
        self.samples = dataset.samples
        self.workers = usable_cores() if workers < 0 else workers
        self.loader: DataLoader[PixelsOrError] | None = None

    def __len__(self) -> int:
        return len(self.order)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; raise DataError for an image that can't be read."""
        self.dataset.epoch.fill_(number)
        self.order.epoch = number
        self.loader = self.loader or self._new_loader()
        for own, pixels in zip(self.order.process_batches(), self.loader, strict=True):
            targets = self.targets[list(own.indices)]
            yield Batch(require_pixels(pixels), targets, own.indices, own.counted, own.step_images)

    def _new_loader(self) -> DataLoader[PixelsOrError]:
        # Images that are kept in memory need no worker processes.
        workers = 0 if self.dataset.kept is not None else min(self.workers, len(self.order))
        return DataLoader(
            self.dataset,
            batch_sampler=self.order,
            num_workers=workers,
            collate_fn=collate,
            # Without it a DataLoader draws a number from torch's global generator in each epoch.
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
    """Return the batches of a split for evaluation: not augmented, in the order of the samples."""
    order = Order(samples, batch_size, seed=None)
    dataset = PixelDataset(samples, preprocessing)
    return PixelSource(dataset, targets_of(samples, classes), order, workers)


def targets_of(samples: Sequence[Sample], classes: int) -> Tensor:
    """Return class indices int64 [images]; for multi-label 0 and 1, float32 [images, classes]."""
    if all(isinstance(sample.label, int) for sample in samples):
        return torch.tensor([sample.label for sample in samples])
    targets = torch.zeros(len(samples), classes)
    for row, sample in zip(targets, samples, strict=True):
        row[torch.tensor(sample.label, dtype=torch.int64)] = 1.0
    return targets


def labels_of(targets: Tensor) -> NDArray[np.int64] | NDArray[np.bool_]:
    """Return targets as `Outputs` takes them: int64 [images], or bool [images, classes]."""
    return targets.numpy() if targets.ndim == 1 else targets.numpy() > 0.5


def clean_pixels(sample: Sample, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Return a sample's preprocessed pixels uint8 [size, size, 3]; raise ImageError on failure."""
    return preprocess(read_image(sample.path, preprocessing), preprocessing)


def augmented_pixels(
    augmentation: Augmentation,
    sample: Sample,
    preprocessing: Preprocessing,
    seeds: tuple[int, ...],
    clean: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Return a sample's augmented pixels uint8 [size, size, 3], determined by the `seeds`.

    `clean` are its preprocessed pixels where the caller has them already. Raises ImageError where
    the image can't be read.
    """
    if augmentation.takes_preprocessed:
        pixels = clean_pixels(sample, preprocessing) if clean is None else clean
        image = Image.fromarray(pixels)
    else:
        image = read_image(sample.path, preprocessing)
    with torch.random.fork_rng(devices=[]):
        seed_view(*seeds)
        return augmentation.apply(image)


def require_pixels(item: PixelsOrError) -> Tensor:
    """Return the pixels; raise DataError for an image that can no longer be read."""
    if isinstance(item, ImageError):
        raise DataError(
            f"an image can't be read: {item}", hint="remove or replace it and start again"
        )
    return item


def collate(items: list[PixelsOrError]) -> PixelsOrError:
    """Return the images of a batch stacked, or the first error among them."""
    pixels = []
    for item in items:
        if isinstance(item, ImageError):
            return item
        pixels.append(item)
    return torch.stack(pixels)
