"""The training images that the network sees as most similar to an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from toolchain.data.layouts import Sample
from toolchain.errors import ImageError
from toolchain.progress import ProgressReporter
from toolchain.reporting.images.activation import pooled_features
from toolchain.reporting.images.mistakes import NEIGHBOURS, Neighbour
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess

MOST_COMPARED = 1000
"""Training images that are compared: their features take about 30 ms each on two cores."""


class TrainingImages:
    """Training images and their pooled features."""

    def __init__(self, run: TrainedRun, progress: ProgressReporter) -> None:
        """Compute the features of at most MOST_COMPARED training images, spread over all of them.

        Raises DataError where the images of the run are gone.
        """
        self.run = run
        every = run.dataset.split("train")
        chosen = np.unique(np.linspace(0, len(every) - 1, MOST_COMPARED).round().astype(int))
        self.total = len(every)
        self.samples: list[Sample] = []
        candidates = [every[index] for index in chosen]
        tracked = progress.track(candidates, "training images", len(candidates))
        rows = list(pooled_features(run.classifier, self._pixels(tracked)))
        self.features = _unit_rows(np.stack(rows)) if rows else np.zeros((0, 1), np.float32)

    def nearest(self, features: NDArray[np.float32]) -> list[Neighbour]:
        """Return the most similar training images, the most similar first."""
        if not self.samples:
            return []
        similarity = self.features @ _unit_rows(features[None, :])[0]
        order = np.argsort(-similarity, kind="stable")[:NEIGHBOURS]
        return [self._neighbour(int(index), float(similarity[index])) for index in order]

    def _neighbour(self, index: int, similarity: float) -> Neighbour:
        sample, classes = self.samples[index], self.run.dataset.classes
        labels = tuple(classes[label] for label in sample.labels)
        name = self.run.dataset.name_of(sample.path)
        return Neighbour(name, labels, min(1.0, max(0.0, similarity)), index)

    def _pixels(self, samples: Sequence[Sample] | Iterator[Sample]) -> Iterator[NDArray[np.uint8]]:
        for sample in samples:
            pixels = readable_pixels(sample, self.run.card.preprocessing)
            if pixels is not None:
                self.samples.append(sample)
                yield pixels


def readable_pixels(sample: Sample, preprocessing: Preprocessing) -> NDArray[np.uint8] | None:
    """Return the preprocessed pixels of an image; None where it can't be read."""
    try:
        return preprocess(read_image(sample.path, preprocessing), preprocessing)
    except ImageError:
        return None


def _unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-12), dtype=np.float32)
