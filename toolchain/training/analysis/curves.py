"""Arithmetic on the curves of a run: filtering, noise, and the losses to compare them with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import Any

from toolchain.runs.settings import FinetuneSettings

Row = dict[str, Any]
"""A line of metrics.jsonl."""

FEWEST_EPOCHS = 4
"""A shorter run has too few points for a curve; only an unmistakable instability is reported."""
EPOCHS_FOR_WIDTH_5 = 10
"""From this number of epochs on a curve is filtered by the median of five epochs in a row, below it
by that of three: narrow enough to keep a rise over some epochs, and wide enough to remove single
outliers."""
MAD_TO_DEVIATION = NormalDist().inv_cdf(0.75)
"""Median of |x| for a standard normal x, 0.6745: divides a median absolute deviation."""


def is_finite(value: float | None) -> bool:
    """Return whether a loss is a finite number; None represents one that is not."""
    return value is not None and math.isfinite(value)


def median_filtered(rows: Sequence[Row], key: str) -> list[Row]:
    """Return for each row the one with the median value of `key` among it and its neighbours.

    Whole rows are returned, so that their figures can be found in metrics.jsonl. The window has
    three or five rows; near either end of the curve it is the first or the last such window.
    """
    width = 5 if len(rows) >= EPOCHS_FOR_WIDTH_5 else 3
    chosen = []
    for i in range(len(rows)):
        start = max(0, min(i - width // 2, len(rows) - width))
        chosen.append(sorted(rows[start : start + width], key=lambda row: row[key])[width // 2])
    return chosen


def noise_deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of the noise around a curve of three values or more.

    It is estimated from the distance of each value to the mean of its two neighbours, which has 1.5
    times the variance of the noise. The median of the distances is not affected by a bend of the
    curve or by single outliers.
    """
    bends = [abs(b - (a + c) / 2) for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    return median(bends) / MAD_TO_DEVIATION / math.sqrt(1.5)


def first_step_losses(rows: Sequence[Row]) -> list[float]:
    """Return the training losses of the first steps of a run; empty where not recorded."""
    return list(rows[0].get("train_loss_start") or []) if rows else []


def loss_of_guessing(settings: FinetuneSettings, classes: int | None) -> float | None:
    """Return the cross entropy in nats of a network for which all classes are equally probable.

    None where the number of classes is not known.
    """
    if settings.task == "multi-label":
        return math.log(2)
    return math.log(classes) if classes and classes > 1 else None
