"""Batches of pixels and targets, decoded in worker processes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from toolchain.data.layouts import Sample
from toolchain.errors import DataError, ImageError, ToolchainError, TrainingError
from toolchain.progress import ProgressReporter
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.runtime.image.read import image_name, read_bytes
from toolchain.training.inputs.augment import Augmentation
from toolchain.training.inputs.loading import ImageLoader, Loaded, Report
from toolchain.training.inputs.order import Order
from toolchain.training.inputs.seeds import seed_view

MOST_BYTES_IN_MEMORY = 1_000_000_000
"""Preprocessed pixels up to this size are kept in memory: about 6,600 images of 224 pixels."""

Key = tuple[int, int]
"""The number of an epoch and the index of a sample.

The epoch comes with each request and not by shared memory, which may be full.
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


class PixelDataset(Dataset[Loaded]):
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
        self.kept: list[NDArray[np.uint8] | ImageError] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Key) -> Loaded:
        epoch, index = key
        return pixels_or_error(lambda: self._pixels(epoch, index))

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

    def _pixels(self, epoch: int, index: int) -> NDArray[np.uint8]:
        if self.augmentation is None:
            return self._clean(index)
        clean = self._clean(index) if self.augmentation.takes_preprocessed else None
        seeds = (self.seed, epoch, index)
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

    def __init__(
        self,
        dataset: PixelDataset,
        targets: Tensor,
        order: Order,
        workers: int,
        report: Report | None = None,
    ) -> None:
        """`workers` is the number of processes that decode; -1 is one for each core.

        `report` gets a line where they can't be started.
        """
        self.dataset, self.targets, self.order = dataset, targets, order
        self.samples, self.report = dataset.samples, report
        self.workers = usable_cores() if workers < 0 else workers
        self.loader: ImageLoader | None = None

    def __len__(self) -> int:
        return len(self.order)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Yield the batches of an epoch; raise DataError for an image that can't be read."""
        self.order.epoch = number
        self.loader = self.loader or self._new_loader()
        for own, pixels in zip(self.order.process_batches(), self.loader, strict=True):
            targets = self.targets[list(own.indices)]
            yield Batch(require_pixels(pixels), targets, own.indices, own.counted, own.step_images)

    def _new_loader(self) -> ImageLoader:
        # Images that are kept in memory need no worker processes.
        workers = 0 if self.dataset.kept is not None else min(self.workers, len(self.order))
        return ImageLoader(self.dataset, _Keys(self.order), workers, self.report)


class _Keys:
    """The keys of each batch of an epoch, as a batch sampler."""

    def __init__(self, order: Order) -> None:
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[list[Key]]:
        return ([(self.order.epoch, index) for index in batch] for batch in self.order)


def clean_source(
    samples: Sequence[Sample],
    classes: int,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    workers: int,
    report: Report | None = None,
) -> PixelSource:
    """Return the batches of a split for evaluation: not augmented, in the order of the samples."""
    order = Order(samples, batch_size, seed=None)
    dataset = PixelDataset(samples, preprocessing)
    return PixelSource(dataset, targets_of(samples, classes), order, workers, report)


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


def clean_pixels(
    sample: Sample, preprocessing: Preprocessing, *, unchanged: bool = False
) -> NDArray[np.uint8]:
    """Return a sample's preprocessed pixels uint8 [size, size, 3]; raise ImageError on failure.

    With `unchanged` it is a failure too if the file has another content than the audit saw.
    """
    return preprocess(_read_sample(sample, preprocessing, unchanged), preprocessing)


def _read_sample(sample: Sample, preprocessing: Preprocessing, unchanged: bool) -> Image.Image:
    if not unchanged:
        return read_image(sample.path, preprocessing)
    # The bytes that are compared are those that are decoded: the file may change in between.
    name = image_name(sample.path)
    data = read_bytes(sample.path, name)
    if hashlib.sha256(data).hexdigest() != sample.digest:
        raise ImageError(f"{name}: it has changed since it was first read")
    return read_image(data, preprocessing, name=name)


def augmented_pixels(
    augmentation: Augmentation,
    sample: Sample,
    preprocessing: Preprocessing,
    seeds: tuple[int, ...],
    clean: NDArray[np.uint8] | None = None,
    *,
    unchanged: bool = False,
) -> NDArray[np.uint8]:
    """Return a sample's augmented pixels uint8 [size, size, 3], determined by the `seeds`.

    `clean` are its preprocessed pixels where the caller has them already; `unchanged` is that of
    `clean_pixels`. Raises ImageError where the image can't be read.
    """
    if augmentation.takes_preprocessed:
        if clean is None:
            clean = clean_pixels(sample, preprocessing, unchanged=unchanged)
        image = Image.fromarray(clean)
    else:
        image = _read_sample(sample, preprocessing, unchanged)
    with torch.random.fork_rng(devices=[]):
        seed_view(*seeds)
        return augmentation.apply(image)


def pixels_or_error(read: Callable[[], NDArray[np.uint8]]) -> Loaded:
    """Return the pixels that `read` returns, or the error in their place; see `Loaded`."""
    try:
        return torch.from_numpy(read().copy())
    except ImageError as error:
        return error
    except MemoryError:
        return TrainingError("memory ran out while images were read")


def require_pixels(item: Loaded) -> Tensor:
    """Return the pixels; raise DataError for an image that can no longer be read."""
    if isinstance(item, ImageError):
        raise DataError(
            f"an image can't be read: {item}", hint="remove or replace it and start again"
        )
    if isinstance(item, ToolchainError):
        raise item
    return torch.as_tensor(item)
