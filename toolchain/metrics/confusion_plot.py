"""Draw a confusion matrix as PNG."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from toolchain.files import atomic_file

MOST_NUMBERED = 25
"""With more classes than this, numbers in the cells would be too small to read."""


def draw_confusion(
    matrix: NDArray[np.int64], classes: Sequence[str], title: str, path: Path
) -> None:
    """Draw a confusion matrix int64 [true class, predicted class] into a PNG file.

    The shade of a cell is its share of the images of the true class; numbers are counts.
    """
    count = len(classes)
    side = min(2.6 + 0.55 * count, 16)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ticks = range(count)
    # No mathtext: matplotlib would take the text between two dollar signs for a formula.
    axes.set_xticks(
        ticks, classes, rotation=45, ha="right", rotation_mode="anchor", parse_math=False
    )
    axes.set_yticks(ticks, classes, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, loc="left", fontsize=10)
    if count <= MOST_NUMBERED:
        for (row, column), number in np.ndenumerate(matrix):
            if number:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(number), ha="center", va="center", color=colour)
    colours = figure.colorbar(shown, ax=axes, shrink=0.8, format=PercentFormatter(1.0, decimals=0))
    colours.outline.set_visible(False)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG; an error leaves an older file as it was."""
    with atomic_file(path) as temporary, warnings.catch_warnings():
        # Characters that the font lacks are drawn as boxes; evaluation.json has the names.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(temporary, format="png", dpi=130)
