"""Plots of training: loss and accuracy over the epochs, and a learning-rate sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from toolchain.metrics.confusion_plot import save_figure
from toolchain.training.analysis.lr_curve import smoothed

TRAIN_COLOUR, VAL_COLOUR = "#8a8f98", "#1f5fa8"


def draw_curves(epochs: Sequence[dict[str, Any]], best_epoch: int, path: Path) -> None:
    """Draw loss and accuracy over the epochs into a PNG file, with the best epoch marked.

    `epochs` are lines of metrics.jsonl.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    numbers = [row["epoch"] for row in epochs]
    for axes, key in ((loss, "loss"), (accuracy, "accuracy")):
        axes.plot(numbers, [r[f"train_{key}"] for r in epochs], color=TRAIN_COLOUR, label="train")
        axes.plot(numbers, [r[f"val_{key}"] for r in epochs], color=VAL_COLOUR, label="validation")
        axes.axvline(best_epoch, color=VAL_COLOUR, linewidth=0.8, linestyle=":")
        axes.set_xlabel("epoch")
        axes.set_title(key, loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", linewidth=0.4, alpha=0.6)
    loss.set_ylim(bottom=0)
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    best = next(row for row in epochs if row["epoch"] == best_epoch)
    accuracy.plot([best_epoch], [best["val_accuracy"]], "o", color=VAL_COLOUR)
    accuracy.legend(
        frameon=False,
        loc="lower right",
        title=f"best: epoch {best_epoch}, {best['val_accuracy']:.1%}",
    )
    save_figure(figure, path)


def draw_rate_sweep(
    rates: Sequence[float], losses: Sequence[float], suggestion: float | None, path: Path
) -> None:
    """Draw the losses of a learning-rate sweep into a PNG file, raw and smoothed.

    `losses` are those before each step, in nats, and may be shorter than `rates`. `suggestion` is
    the rate to mark, one of `rates`, or None.
    """
    values = np.asarray(losses, dtype=np.float64)
    if len(not_finite := np.flatnonzero(~np.isfinite(values))):
        values = values[: not_finite[0]]
    tried, curve = np.asarray(rates[: len(values)]), np.asarray(smoothed(values.tolist()))
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(tried, values, color=TRAIN_COLOUR, linewidth=0.8, alpha=0.7, label="each batch")
    axes.plot(tried, curve, color=VAL_COLOUR, label="smoothed")
    if suggestion is not None:
        axes.axvline(suggestion, color=VAL_COLOUR, linewidth=0.8, linestyle=":")
        level = curve[int(np.argmin(np.abs(tried - suggestion)))]
        axes.plot([suggestion], [level], "o", color=VAL_COLOUR)
    axes.set_xscale("log")
    axes.set_xlim(min(rates), max(rates))
    axes.set_ylim(*_loss_limits(values, curve))
    axes.set_xlabel("learning rate")
    axes.set_title("loss", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)
    legend = "no rate to suggest" if suggestion is None else f"suggested: {suggestion:.2g}"
    axes.legend(frameon=False, loc="lower left", title=legend)
    save_figure(figure, path)


def _loss_limits(losses: NDArray[np.float64], curve: NDArray[np.float64]) -> tuple[float, float]:
    """Return axis limits that fit the descent; losses after it may lie outside."""
    if not len(losses):
        return 0.0, 1.0
    high = float(curve[: int(curve.argmin()) + 1].max())
    low = float(min(losses.min(), curve.min()))
    margin = 0.15 * (high - low) or 0.1
    return max(0.0, low - margin), high + 3 * margin
