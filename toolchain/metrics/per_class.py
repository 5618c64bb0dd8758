"""Precision, recall and F1 of each class, and their mean."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray


class ClassMetrics(msgspec.Struct, frozen=True):
    """One class; rates in 0…1, `images` of it in the split."""

    label: str
    images: int
    precision: float
    recall: float
    f1: float


def class_metrics(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], classes: Sequence[str]
) -> list[ClassMetrics]:
    """Return precision, recall and F1 of each class; a rate of nothing is 0.

    `truth` and `predicted` are bool [images, classes]: the classes that an image has, and those
    that it was taken for. For single-label each row is true in one place.
    """
    hits = (truth & predicted).sum(axis=0)
    truly, taken = truth.sum(axis=0), predicted.sum(axis=0)
    return [
        ClassMetrics(
            label=label,
            images=int(truly[i]),
            precision=_share(hits[i], taken[i]),
            recall=_share(hits[i], truly[i]),
            # 2PR / (P + R) written in counts, so that it has no case of its own for P + R = 0.
            f1=_share(2 * hits[i], truly[i] + taken[i]),
        )
        for i, label in enumerate(classes)
    ]


def macro_f1(per_class: Sequence[ClassMetrics]) -> float:
    """Return the mean F1 over the classes that the split holds images of; 0 where it holds none."""
    present = [metrics.f1 for metrics in per_class if metrics.images]
    return sum(present) / len(present) if present else 0.0


def _share(part: np.int64, whole: np.int64) -> float:
    return float(part / whole) if whole else 0.0
