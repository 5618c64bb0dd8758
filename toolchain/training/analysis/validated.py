"""What the validation images of the best epoch show, beside the curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Validated:
    """The best epoch's predictions, and the sizes of the training that led to them."""

    classes: tuple[str, ...]
    truth: NDArray[np.bool_]
    """Bool [images, classes]: the classes that each validation image has."""
    predicted: NDArray[np.bool_]
    """Bool [images, classes]: the classes that are predicted for it."""
    train_counts: tuple[int, ...]
    """Training images of each class."""
    train_images: int
    """Training images, however many classes each has."""
    steps: int
    """Optimiser steps of the whole run."""
    multi_label: bool = False

    @property
    def images(self) -> int:
        """The number of validation images."""
        return len(self.truth)

    @property
    def correct(self) -> int:
        """How many images are right, for multi-label in all classes."""
        return int((self.truth == self.predicted).all(axis=1).sum())

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Single-label: numbers of images, int64 [true class, predicted class]."""
        matrix: NDArray[np.int64] = self.truth.T.astype(np.int64) @ self.predicted.astype(np.int64)
        return matrix

    @property
    def best_guess(self) -> float:
        """The share of images that the most frequent answer is right for, in 0…1."""
        _, counts = np.unique(self.truth, axis=0, return_counts=True)
        return float(counts.max() / self.images)
