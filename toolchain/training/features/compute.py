"""Compute the features that a run needs and the cache does not have yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset as TorchDataset

from toolchain.data.layouts import Dataset, Sample
from toolchain.files import NO_ROOM
from toolchain.networks.resnet import Classifier
from toolchain.networks.split import network_parts
from toolchain.progress import ProgressReporter, track_images
from toolchain.runs.settings import FinetuneSettings
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.cores import usable_cores
from toolchain.training.features.engine import Engine, fastest_engine
from toolchain.training.features.store import Entry, display_folder
from toolchain.training.features.writer import Unstorable
from toolchain.training.inputs.augment import Augmentation, make_augmentation
from toolchain.training.inputs.loading import ImageLoader, Loaded
from toolchain.training.inputs.samples import (
    augmented_pixels,
    clean_pixels,
    pixels_or_error,
    require_pixels,
)

RowImage = tuple[Sample, int | None]
"""The image that a row is computed from: a sample, and the number of its augmented view.

None is the clean view: preprocessed and not augmented.
"""


@dataclass(frozen=True)
class FeatureSpec:
    """Everything that the features of a data set depend on."""

    classifier: Classifier
    frozen: int
    """Number of frozen parts of the network, from the input on; see `network_parts`."""
    dataset: Dataset
    preprocessing: Preprocessing
    settings: FinetuneSettings
    views: int
    """Augmented views of each training image; 0 for the clean view alone."""
    device: torch.device
    source: Classifier | None = None
    """Where the training images are computed by another copy of the classifier: that one."""
    target: tuple[Sample, ...] = ()
    """Photographs of another camera, with as many views as the training images."""

    @property
    def boundary(self) -> str:
        """Name of the first part that is trained."""
        return network_parts(self.classifier.network)[self.frozen][0]


class RequiredRows(NamedTuple):
    """The rows of a cache entry that a run needs."""

    entry: Entry
    backbone: nn.Module
    """Computes a row of pixels."""
    names: list[str]
    images: list[RowImage]
    """What each of the rows in `names` is computed from."""


def compute_missing(
    spec: FeatureSpec, required: Sequence[RequiredRows], progress: ProgressReporter
) -> bool:
    """Compute the required rows that the cache does not have, and write them into it.

    Returns False, after reporting the reason, where they can't be written. Raises DataError for an
    image that can't be read.
    """
    try:
        _compute(spec, required, progress)
        if any(rows.entry.missing(rows.names) for rows in required):
            # The cache was cleared by another process meanwhile.
            _compute(spec, required, progress)
    except Unstorable as error:
        progress.message(f"the frozen part is computed each epoch: {error}")
        return False
    return True


def _compute(
    spec: FeatureSpec, required: Sequence[RequiredRows], progress: ProgressReporter
) -> None:
    augmentation = make_augmentation(spec.settings)
    engines: dict[nn.Module, Engine] = {}
    for entry, backbone, names, images in required:
        if not entry.missing(names):
            continue
        if backbone not in engines:
            engines[backbone] = fastest_engine(backbone, spec.preprocessing.size, spec.device)
        engine = engines[backbone]
        try:
            with entry.writing(names, progress) as writer:
                missing = set(writer.missing)
                rows = zip(names, images, strict=True)
                to_compute = [image for name, image in rows if name in missing]
                pixels = RowPixels(to_compute, spec.preprocessing, augmentation, spec.settings.seed)
                for features in computed_features(engine, pixels, spec, progress):
                    for row in features:
                        writer.put(row)
        except OSError as error:
            if error.errno in NO_ROOM:
                entry.remove()  # what is kept of it makes room
            reason = (error.strerror or str(error)).lower()
            raise Unstorable(
                f"its results can't be kept in {display_folder()}: {reason}"
            ) from error


class RowPixels(TorchDataset[Loaded]):
    """The pixels that rows are computed from, uint8 [size, size, 3]."""

    def __init__(
        self,
        images: Sequence[RowImage],
        preprocessing: Preprocessing,
        augmentation: Augmentation | None,
        seed: int,
    ) -> None:
        self.images, self.preprocessing = images, preprocessing
        self.augmentation, self.seed = augmentation, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Loaded:
        return pixels_or_error(lambda: self._pixels(*self.images[index]))

    def _pixels(self, sample: Sample, view: int | None) -> NDArray[np.uint8]:
        if view is None or self.augmentation is None:
            return clean_pixels(sample, self.preprocessing, unchanged=True)
        # Seeded by the content of the file and not by its position in the data set, so that the row
        # stays valid when images are added.
        seeds = (self.seed, view, int(sample.digest[:15], 16))
        return augmented_pixels(
            self.augmentation, sample, self.preprocessing, seeds, unchanged=True
        )


def computed_features(
    engine: Engine, dataset: RowPixels, spec: FeatureSpec, progress: ProgressReporter
) -> Iterator[NDArray[np.float32]]:
    """Yield the features of all images, in order, one batch at a time.

    Worker processes decode; threads of this process run the engine.
    """
    workers = spec.settings.workers if spec.settings.workers >= 0 else usable_cores()
    rows = range(len(dataset))
    batches = [list(rows[start : start + engine.batch]) for start in rows[:: engine.batch]]
    workers = min(workers, len(dataset) // engine.batch)
    loader = ImageLoader(dataset, batches, workers, progress.message)
    pending: deque[Future[NDArray[np.float32]]] = deque()
    label = f"features before {spec.boundary}, images"
    with ThreadPoolExecutor(engine.threads) as pool:
        shown = track_images(
            progress, loader, label, len(dataset), lambda pixels: len(require_pixels(pixels))
        )
        for pixels in shown:
            pending.append(pool.submit(engine, require_pixels(pixels).numpy()))
            if len(pending) > 2 * engine.threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
