"""Draw a confusion matrix as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from toolchain.metrics.figure import (
    DrawnNames,
    drawn_names,
    save_figure,
    whole_ticks,
    without_warnings,
)

MOST_NUMBERED = 25
"""With more classes than this, numbers in the cells would be too small to read."""
MOST_NAMED = 60
"""With more classes than this, their names would be too small; the axes count them instead."""
MOST_CELLS = 700
"""Of more rows and columns several share a pixel, which shows the darkest of them."""
LISTED = 20
"""Pairs of classes that are listed beside a matrix without numbers."""


@without_warnings
def draw_confusion(
    matrix: NDArray[np.int64], classes: Sequence[str], title: str, path: Path
) -> None:
    """Draw a confusion matrix int64 [true class, predicted class] into a PNG file.

    The shade of a cell is its share of the images of the true class; numbers are counts. A class
    without images has an empty row. Where the cells are too small for numbers, the pairs of classes
    that are confused most are listed beside them.
    """
    count, names = len(classes), drawn_names(classes)
    side = min(2.6 + 0.55 * count + 0.06 * max(map(len, names.labels)), 16)
    is_numbered = count <= MOST_NUMBERED
    figure = Figure(figsize=(side + (0.6 if is_numbered else 6.2), side), layout="constrained")
    if is_numbered:
        axes = figure.subplots()
    else:
        axes, beside = figure.subplots(1, 2, width_ratios=(side, 5))
        _list_confusions(beside, matrix, classes)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    _draw_shares(figure, axes, shares, PowerNorm(1.0 if is_numbered else 0.5, 0, 1))
    _label_axes(axes, names, matrix.sum(axis=1), 72 * (side - 3) / count)
    axes.set_title(title, loc="left", fontsize=10, parse_math=False)
    if is_numbered:
        _write_counts(axes, matrix, shares)
    # The list beside many classes is as wide as their names.
    save_figure(figure, path, whole=not is_numbered)


def _draw_shares(figure: Figure, axes: Axes, shares: NDArray[np.float64], norm: PowerNorm) -> None:
    """Draw the cells and the bar that explains their shades.

    Small cells need a norm that rises fast: few images of many are a light shade otherwise.
    """
    count = len(shares)
    shown = axes.imshow(
        darkest(shares, MOST_CELLS),
        cmap="Blues",
        norm=norm,
        extent=(-0.5, count - 0.5, count - 0.5, -0.5),
        interpolation="nearest",
    )
    percent = PercentFormatter(1.0, decimals=0)
    width = 0.15 if count <= MOST_NUMBERED else 0.04
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, fraction=width, format=percent)
    bar.outline.set_visible(False)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1] if norm.gamma == 1 else [0, 0.05, 0.25, 0.5, 1])
    bar.set_label("share of the true class", fontsize=9)


def _label_axes(
    axes: Axes, names: DrawnNames, images: NDArray[np.int64], cell_points: float
) -> None:
    """Write the names of the classes along both axes, or the numbers of many."""
    count = len(images)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if count > MOST_NAMED:
        axes.set_xlabel("predicted: number of the class, in the order of card.json, from 1")
        axes.set_ylabel("true: number of the class")
        ticks = whole_ticks(1, count, most=11)
        axes.set_xticks([tick - 1 for tick in ticks], [str(tick) for tick in ticks])
        axes.set_yticks([tick - 1 for tick in ticks], [str(tick) for tick in ticks])
        return
    if names.incomplete:
        axes.set_xlabel(
            "predicted\n\nnumbered as in card.json: names whose letters no font here has"
        )
    # No mathtext: matplotlib would take the text between two dollar signs for a formula.
    style: dict[str, Any] = {
        "family": names.families,
        "fontsize": min(10.0, max(5.0, 0.8 * cell_points)),
        "parse_math": False,
    }
    # Names of narrow columns would overlap if they were aslant.
    aslant: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    upright: dict[str, Any] = {"rotation": 90}
    axes.set_xticks(
        range(count), names.labels, **style, **(aslant if count <= MOST_NUMBERED else upright)
    )
    labels = [
        name if seen else f"{name} (no images)"
        for name, seen in zip(names.labels, images, strict=True)
    ]
    axes.set_yticks(range(count), labels, **style)


def _write_counts(axes: Axes, matrix: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    """Write the number of images into each cell that has some."""
    for (row, column), number in np.ndenumerate(matrix):
        if number:
            colour = "white" if shares[row, column] > 0.5 else "black"
            digits = len(str(number))
            size = 10 if digits <= 4 else 40 / digits
            axes.text(
                column, row, str(number), ha="center", va="center", color=colour, fontsize=size
            )


def _list_confusions(axes: Axes, matrix: NDArray[np.int64], classes: Sequence[str]) -> None:
    """List the pairs of classes that are confused most often."""
    axes.set_axis_off()
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    largest = np.argsort(-wrong, axis=None, kind="stable")[:LISTED]
    rows, columns = np.unravel_index(largest, wrong.shape)
    pairs = [(int(wrong[r, c]), r, c) for r, c in zip(rows, columns, strict=True) if wrong[r, c]]
    names = drawn_names(classes, 18)
    labels = names.labels
    lines = [f"{count} ×  {labels[r]} → {labels[c]}" for count, r, c in pairs] or ["none"]
    axes.text(
        0, 0.95, "confused most often (true → predicted)\n\n" + "\n".join(lines),
        va="top", fontsize=10.5, linespacing=1.6, family=names.families, parse_math=False,
        transform=axes.transAxes,
    )  # fmt: skip


def darkest(shares: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Return a square matrix with at most `most` rows, each cell the largest of those it covers."""
    count = len(shares)
    if count <= most:
        return shares
    starts = np.unique(np.linspace(0, count, most, endpoint=False).astype(np.int64))
    rows = np.maximum.reduceat(shares, starts, axis=0)
    return np.asarray(np.maximum.reduceat(rows, starts, axis=1))
