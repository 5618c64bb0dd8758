"""Precision, recall and F1 of each class, and the macro F1."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
"""Bool [images, classes]: the classes of each image. For single-label one is true in each row."""


class ClassMetrics(msgspec.Struct, frozen=True):
    """Metrics of one class, in 0…1, over `images` images of it."""

    label: str
    images: int
    precision: float
    recall: float
    f1: float


def class_metrics(truth: Flags, predicted: Flags, classes: Sequence[str]) -> list[ClassMetrics]:
    """Return precision, recall and F1 of each class; 0 where the denominator is 0.

    `truth` are the classes that the images have, `predicted` those that were predicted.
    """
    hits = (truth & predicted).sum(axis=0)
    actual_counts, predicted_counts = truth.sum(axis=0), predicted.sum(axis=0)
    precision = _ratios(hits, predicted_counts)
    recall = _ratios(hits, actual_counts)
    f1 = f1_scores(truth, predicted)
    return [
        ClassMetrics(
            label=label,
            images=int(actual_counts[i]),
            precision=float(precision[i]),
            recall=float(recall[i]),
            f1=float(f1[i]),
        )
        for i, label in enumerate(classes)
    ]


def f1_scores(truth: Flags, predicted: Flags) -> NDArray[np.float64]:
    """Return F1 of each class, float64 [classes]; 0 for a class neither present nor predicted.

    2PR / (P + R) is written in counts, so that P + R = 0 needs no case of its own.
    """
    hits = (truth & predicted).sum(axis=0)
    return _ratios(2 * hits, truth.sum(axis=0) + predicted.sum(axis=0))


def macro_f1(truth: Flags, predicted: Flags) -> float:
    """Return the mean F1 over the classes that the split has images of; 0 where it has none.

    torchmetrics also averages over a class without images, as 0, as soon as one image is predicted
    to be of it. That would make the figure depend on classes that the split can't measure.
    """
    present = truth.any(axis=0)
    return float(f1_scores(truth, predicted)[present].mean()) if present.any() else 0.0


def _ratios(parts: NDArray[np.int64], wholes: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(parts, wholes, out=np.zeros(len(parts)), where=wholes > 0)
