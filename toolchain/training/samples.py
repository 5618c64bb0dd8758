"""Batches of pixels and labels, decoded in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from toolchain.data.layouts import Sample
from toolchain.errors import DataError, ImageError
from toolchain.narrator import Narrator
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.image import read_image
from toolchain.runtime.preprocess import preprocess
from toolchain.training.augment import View, seed_view

MOST_BYTES_IN_MEMORY = 1_000_000_000
"""Clean pixels up to this size are kept: about 6,600 images of 224 pixels."""

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
        self.clean: list[NDArray[np.uint8] | ImageError] | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Item | ImageError:
        try:
            pixels = self._pixels(index)
        except ImageError as error:
            return error  # raised in a worker it would come back as a page of traceback
        return torch.from_numpy(pixels.copy()), self.samples[index].label

    def fits_in_memory(self) -> bool:
        """Say whether what never changes between epochs is small enough to be read once."""
        of_clean = self.view is None or self.view.of_clean
        return of_clean and len(self) * self.preprocessing.size**2 * 3 <= MOST_BYTES_IN_MEMORY

    def read_once(self, narrator: Narrator, label: str) -> None:
        """Decode every image now, in threads, and keep the clean pixels."""

        def read(sample: Sample) -> NDArray[np.uint8] | ImageError:
            try:
                return self._clean_pixels(sample)
            except ImageError as error:
                return error

        with ThreadPoolExecutor(usable_cores()) as pool:
            read_images = pool.map(read, self.samples)
            self.clean = list(narrator.track(read_images, label, len(self)))

    def _pixels(self, index: int) -> NDArray[np.uint8]:
        if self.view is None:
            return self._clean(index)
        start = (
            Image.fromarray(self._clean(index))
            if self.view.of_clean
            else read_image(self.samples[index].path, self.preprocessing)
        )
        with torch.random.fork_rng(devices=[]):
            seed_view(self.seed, int(self.epoch), index)
            return self.view.make(start)

    def _clean(self, index: int) -> NDArray[np.uint8]:
        if self.clean is None:
            return self._clean_pixels(self.samples[index])
        kept = self.clean[index]
        if isinstance(kept, ImageError):
            raise kept
        return kept

    def _clean_pixels(self, sample: Sample) -> NDArray[np.uint8]:
        return preprocess(read_image(sample.path, self.preprocessing), self.preprocessing)


def make_loader(
    views: Views, *, batch_size: int, workers: int, shuffle: bool, seed: int
) -> DataLoader[Batch]:
    """Give a loader of (pixels uint8 [batch, size, size, 3], labels int64 [batch]).

    Images that were read once need no worker processes.
    """
    generator = torch.Generator().manual_seed(seed)
    workers = usable_cores() if workers < 0 else workers
    workers = 0 if views.clean is not None else min(workers, -(-len(views) // batch_size))
    return DataLoader(
        views,  # type: ignore[arg-type]  # our collate turns items into batches
        batch_size=batch_size,
        shuffle=shuffle,
        num_workers=workers,
        collate_fn=_collate,
        generator=generator,
        persistent_workers=workers > 0,
        # BatchNorm can't train on a single image.
        drop_last=shuffle and len(views) > batch_size and len(views) % batch_size == 1,
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
