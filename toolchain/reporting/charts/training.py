"""The curves of training: loss, accuracy and learning rates, with the best epoch and the stages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from toolchain.metrics.loss_axis import usual_top
from toolchain.reporting.charts.svg import Axis, Chart, Drawing, linear_axis, log_axis, whole_axis
from toolchain.reporting.reading.epochs import Row

MOST_DOTS = 30
"""Curves of more epochs have no dots."""


def loss_chart(epochs: Sequence[Row], best: int) -> Drawing:
    """Return training and validation loss over the epochs."""
    values = [_number(row, f"{split}_loss") for row in epochs for split in ("train", "val")]
    finite = [value for value in values if math.isfinite(value)]
    top = usual_top(finite)
    chart = Chart(_epochs(epochs), linear_axis(0, top * 1.06, "loss", most=5), "loss by epoch")
    _draw_splits(chart, epochs, "loss", best)
    if finite and max(finite) > top * 1.06:
        chart.text(440, 24, f"up to {max(finite):.3g}", "tick", "end")
    return chart.svg()


def accuracy_chart(epochs: Sequence[Row], best: int) -> Drawing:
    """Return training and validation accuracy over the epochs."""
    values = [_number(row, f"{s}_accuracy") for row in epochs for s in ("train", "val")]
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low = min(*finite, 0.9) - 0.02
    axis = linear_axis(max(0.0, math.floor(low * 20) / 20), 1.0, "accuracy", unit="%", most=6)
    chart = Chart(_epochs(epochs), axis, "accuracy by epoch")
    _draw_splits(chart, epochs, "accuracy", best)
    return chart.svg()


def rates_chart(epochs: Sequence[Row], best: int) -> Drawing | None:
    """Return the learning rates over the epochs; None where none was noted."""
    columns = max((len(row.get("learning_rates") or ()) for row in epochs), default=0)
    rates = [
        rate for row in epochs for rate in row.get("learning_rates") or () if 0 < rate < math.inf
    ]
    if not rates:
        return None
    chart = Chart(_epochs(epochs), log_axis(rates, "learning rate"), "learning rates by epoch")
    numbers = [float(row["epoch"]) for row in epochs]
    for column in range(columns):
        values = [_rate(row, column) for row in epochs]
        chart.line(numbers, values, "accent" if column == 0 else "quiet")
        if len(numbers) == 1:
            chart.dots(numbers, values, "accent" if column == 0 else "quiet")
    _mark(chart, epochs, best)
    return chart.svg()


def stage_starts(epochs: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Yield (epoch, layers) of each epoch from which another number of layers was trained."""
    for before, row in pairwise(epochs):
        layers = row.get("trained_layers")
        if layers is not None and layers != before.get("trained_layers"):
            yield row["epoch"], layers


def _draw_splits(chart: Chart, epochs: Sequence[Row], key: str, best: int) -> None:
    numbers = [float(row["epoch"]) for row in epochs]
    _mark(chart, epochs, best)
    for split, style in (("train", "quiet"), ("val", "accent")):
        values = [_number(row, f"{split}_{key}") for row in epochs]
        chart.line(numbers, values, style)
        if len(numbers) <= MOST_DOTS:
            chart.dots(numbers, values, style, 2.2)
    at_best = [_number(row, f"val_{key}") for row in epochs if row["epoch"] == best]
    chart.dots([float(best)] * len(at_best), at_best, "accent best", 5)


def _mark(chart: Chart, epochs: Sequence[Row], best: int) -> None:
    """Mark the best epoch, and where more layers were trained."""
    starts = list(stage_starts(epochs))
    for number, (epoch, layers) in enumerate(starts):
        chart.vertical(epoch - 0.5, "stage", f"{layers} layers" if number < 3 else "")
    chart.vertical(best, "best")


def _epochs(epochs: Sequence[Row]) -> Axis:
    return whole_axis(epochs[0]["epoch"], epochs[-1]["epoch"], "epoch")


def _number(row: Row, key: str) -> float:
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else math.nan


def _rate(row: Row, column: int) -> float:
    """Return one of the rates of an epoch; one that is 0 has no place on a logarithmic axis."""
    rates = row.get("learning_rates") or ()
    value = float(rates[column]) if column < len(rates) else math.nan
    return value if 0 < value < math.inf else math.nan
