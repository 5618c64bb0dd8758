"""Curves over all thresholds: ROC, precision over recall, accuracy over coverage, reliability.

Only numpy: they are computed from scores that an evaluation has left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating]
Flags = NDArray[np.bool_]
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""The values along both axes, each float64 [points]."""

RELIABILITY_BINS = 10


class Bin(NamedTuple):
    """Predictions of about the same probability."""

    low: float
    high: float
    images: int
    confidence: float
    """Their mean probability."""
    right: int
    """How many of them are right."""


def roc_curve(scores: Scores, truth: Flags) -> Curve:
    """Return (false positive rate, true positive rate), one point for each different score.

    `scores` and `truth` are [images], with images of both kinds. The curve begins at (0, 0).

    >>> [axis.tolist() for axis in roc_curve(np.array([0.9, 0.2]), np.array([True, False]))]
    [[0.0, 0.0, 1.0], [0.0, 1.0, 1.0]]
    """
    hits, false_alarms = _counts(scores, truth)
    return (
        np.concatenate([[0.0], false_alarms / max(1, false_alarms[-1])]),
        np.concatenate([[0.0], hits / max(1, hits[-1])]),
    )


def precision_recall_curve(scores: Scores, truth: Flags) -> Curve:
    """Return (recall, precision), one point for each different score, the highest first.

    `scores` and `truth` are [images], with one image or more that has the class.
    """
    hits, false_alarms = _counts(scores, truth)
    return hits / max(1, hits[-1]), hits / (hits + false_alarms)


def average_precision(scores: Scores, truth: Flags) -> float:
    """Return the area under the steps of the precision over the recall, in 0…1."""
    recall, precision = precision_recall_curve(scores, truth)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def area_under_roc(scores: Scores, truth: Flags) -> float:
    """Return the area under the ROC curve, in 0…1; half of the ties count."""
    false_rate, true_rate = roc_curve(scores, truth)
    heights = (true_rate[1:] + true_rate[:-1]) / 2
    return float((np.diff(false_rate) * heights).sum())


def coverage_curve(confidence: Scores, right: Flags) -> Curve:
    """Return (coverage, accuracy) of the most certain predictions, one point for each number.

    Predictions that are equally certain are answered together: the curve has one point for them.
    """
    order = np.argsort(-confidence, kind="stable")
    ends = _last_of_equals(confidence[order])
    answered = ends + 1
    return answered / len(right), np.cumsum(right[order])[ends] / answered


def reliability_bins(confidence: Scores, right: Flags, bins: int = RELIABILITY_BINS) -> list[Bin]:
    """Return the predictions in bins of equal width by their probability, without empty bins.

    A bin includes its upper edge, as in `calibration_error`.
    """
    numbers = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    found = []
    for number in np.unique(numbers):
        inside = numbers == number
        mean = float(confidence[inside].mean())
        images, hits = int(inside.sum()), int(right[inside].sum())
        found.append(Bin(number / bins, (number + 1) / bins, images, mean, hits))
    return found


def _counts(scores: Scores, truth: Flags) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (hits, false alarms) when all images down to each different score are taken."""
    order = np.argsort(-scores, kind="stable")
    ends = _last_of_equals(scores[order])
    hits = np.cumsum(truth[order].astype(np.int64))[ends]
    return hits, ends + 1 - hits


def _last_of_equals(ordered: Scores) -> NDArray[np.int64]:
    """Return the positions at which runs of equal values end."""
    return np.flatnonzero(np.append(np.diff(ordered) != 0, True))
