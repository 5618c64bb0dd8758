"""Plots of training: loss and accuracy over the epochs, and a learning-rate sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from toolchain.metrics.figure import save_figure, whole_ticks, without_warnings
from toolchain.metrics.loss_axis import usual_top
from toolchain.training.analysis.lr_curve import smoothed

TRAIN_COLOUR, VAL_COLOUR, STAGE_COLOUR = "#8a8f98", "#1f5fa8", "#b7791f"
MOST_MARKED = 12
"""With more epochs than this the points of a curve have no markers."""
LEAST_ACCURACY_SPAN = 0.1
"""The accuracy axis shows at least this much: a span of 0.3 % would look like progress."""


@without_warnings
def draw_curves(epochs: Sequence[dict[str, Any]], best_epoch: int, path: Path) -> None:
    """Draw loss and accuracy over the epochs into a PNG file.

    The best epoch is marked, and the epochs from which more layers were trained. `epochs` are lines
    of metrics.jsonl.
    """
    best = next(row for row in epochs if row["epoch"] == best_epoch)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    numbers = [row["epoch"] for row in epochs]
    marker = "o" if len(numbers) <= MOST_MARKED else ""
    for axes, key in ((loss, "loss"), (accuracy, "accuracy")):
        for split, name, colour in (
            ("train", "training", TRAIN_COLOUR),
            ("val", "validation", VAL_COLOUR),
        ):
            values = [row[f"{split}_{key}"] for row in epochs]
            axes.plot(numbers, values, marker=marker, color=colour, ms=3.5, label=name)
        line = axes.axvline(best_epoch, color=VAL_COLOUR, linewidth=0.8, linestyle=":")
        axes.plot([best_epoch], [best[f"val_{key}"]], "o", color=VAL_COLOUR, ms=7)
        _mark_stages(axes, epochs)
        _number_epochs(axes, numbers)
        _clear_frame(axes)
    line.set_label(f"best: epoch {best_epoch}, {best['val_accuracy']:.1%}")
    loss.set_title("loss", loc="left")
    accuracy.set_title("accuracy", loc="left")
    _limit_loss(loss, [row[f"{split}_loss"] for row in epochs for split in ("train", "val")])
    _limit_accuracy(
        accuracy, [row[f"{split}_accuracy"] for row in epochs for split in ("train", "val")]
    )
    # Above the axes, where no curve runs.
    figure.legend(handles=_legend(accuracy), loc="outside upper right", ncols=4, frameon=False)
    save_figure(figure, path)


def _legend(axes: Axes) -> list[Any]:
    """Return what the legend names: the curves, the best epoch, and where stages begin."""
    lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
    return lines


def _number_epochs(axes: Axes, numbers: Sequence[int]) -> None:
    """Number the first and the last epoch, and round ones between."""
    ticks = whole_ticks(numbers[0], numbers[-1])
    margin = max(0.5 if len(numbers) == 1 else 0.0, 0.03 * (numbers[-1] - numbers[0]))
    axes.set_xlim(numbers[0] - margin, numbers[-1] + margin)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xlabel("epoch")


def _mark_stages(axes: Axes, epochs: Sequence[dict[str, Any]]) -> None:
    """Mark the epochs from which more layers were trained, with the number of layers.

    Numbers that would stand closer than a tenth of the axis are left out.
    """
    trained = [row.get("trained_layers") for row in epochs]
    span = max(1, epochs[-1]["epoch"] - epochs[0]["epoch"])
    labelled_at = -float(span)
    for before, now, row in zip(trained, trained[1:], epochs[1:], strict=False):
        if now == before or now is None:
            continue
        start = row["epoch"] - 0.5
        line = axes.axvline(start, color=STAGE_COLOUR, lw=0.7, ls="--", alpha=0.7)
        if labelled_at < 0:
            line.set_label("from here more layers (their number)")
        if start - labelled_at >= 0.1 * span:
            labelled_at = start
            axes.annotate(
                str(now), (start, 1), xycoords=("data", "axes fraction"), xytext=(2, 0),
                textcoords="offset points", fontsize=8, color=STAGE_COLOUR, va="top",
            )  # fmt: skip


def _limit_loss(axes: Axes, losses: Sequence[float]) -> None:
    """Show losses from 0; a few that are far above all others would flatten the curves."""
    finite = [loss for loss in losses if np.isfinite(loss)]
    top = usual_top(finite)
    axes.set_ylim(0, 1.08 * top)
    if finite and max(finite) > top:
        axes.annotate(
            f"up to {max(finite):.3g}", (1, 1), xycoords="axes fraction", ha="right", va="top",
            fontsize=8, color=TRAIN_COLOUR,
        )  # fmt: skip


def _limit_accuracy(axes: Axes, accuracies: Sequence[float]) -> None:
    """Show the accuracies with room around them, in whole per cent."""
    low, high = min(accuracies), max(accuracies)
    margin = max(0.06 * (high - low), (LEAST_ACCURACY_SPAN - (high - low)) / 2)
    low, high = low - margin, high + margin
    # Shifted into 0…1, as no accuracy lies outside; a little more keeps the line at 100 % whole.
    shift = max(0.0, -low) - max(0.0, high - 1)
    axes.set_ylim(max(-0.01, low + shift - 0.005), min(1.01, high + shift + 0.005))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], min_n_ticks=3))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _clear_frame(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", linewidth=0.4, alpha=0.6)


@without_warnings
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
        line = axes.axvline(suggestion, color=VAL_COLOUR, linewidth=0.8, linestyle=":")
        line.set_label(f"suggested: {suggestion:.2g}")
        level = curve[int(np.argmin(np.abs(tried - suggestion)))]
        axes.plot([suggestion], [level], "o", color=VAL_COLOUR)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(min(rates), max(rates))
    axes.set_ylim(*_loss_limits(values, curve))
    axes.set_xlabel("learning rate of the classifier")
    axes.set_title("loss" if suggestion is not None else "loss: it falls at no rate", loc="left")
    _clear_frame(axes)
    figure.legend(handles=_legend(axes), loc="outside upper right", ncols=3, frameon=False)
    save_figure(figure, path)


def _loss_limits(losses: NDArray[np.float64], curve: NDArray[np.float64]) -> tuple[float, float]:
    """Return axis limits that fit the descent; losses after it may lie outside."""
    if not len(losses):
        return 0.0, 1.0
    high = float(curve[: int(curve.argmin()) + 1].max())
    low = float(min(losses.min(), curve.min()))
    margin = max(0.15 * (high - low), 0.02)
    return max(0.0, low - margin), high + 3 * margin
