"""The result of each image, and those that are wrong, the surest first."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import msgspec

from toolchain.display import Table, percent
from toolchain.files import write_text

LISTED = 5
"""Images that a screen shows."""


class ImageResult(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The prediction for one image, to compare with that of an exported model on a device.

    Fields of the other task are None, and left out of the JSON.
    """

    file: str
    label: str | None = None
    """Single-label: the true class."""
    predicted: str | None = None
    """Single-label: the most probable class."""
    probability: float | None = None
    """Of `predicted`."""
    labels: tuple[str, ...] | None = None
    """Multi-label: the true classes, in the order of the card."""
    predicted_labels: tuple[str, ...] | None = None
    """Multi-label: the predicted classes, most probable first."""
    probabilities: tuple[float, ...] | None = None
    """Of `predicted_labels`, in their order."""


def wrong_results(results: Sequence[ImageResult]) -> list[ImageResult]:
    """Return the results that are wrong, the surest first; multi-label: wrong in any class."""
    return sorted(filter(_is_wrong, results), key=_sureness, reverse=True)


def wrong_table(wrong: Sequence[ImageResult]) -> Table:
    """Return the first of these results as a table."""
    rows = [(result.file, *_labels(result), _probability(result)) for result in wrong[:LISTED]]
    title = "labelled wrong, the surest first"
    if len(wrong) > LISTED:
        title += f" ({LISTED} of {len(wrong)}; --wrong FILE lists all)"
    columns = ("file", "true", "predicted", "probability")
    return Table(columns, rows, right=columns[3:], title=title)


def write_wrong(path: Path, wrong: Sequence[ImageResult]) -> None:
    """Write results as CSV: file, label, predicted and its probability; classes joined by `;`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "label", "predicted", "probability"))
    for result in wrong:
        sureness = _sureness(result)
        writer.writerow((result.file, *_labels(result), f"{sureness:.6g}" if sureness else ""))
    write_text(path, text.getvalue())


def _is_wrong(result: ImageResult) -> bool:
    if result.labels is None:
        return result.label != result.predicted
    return set(result.labels) != set(result.predicted_labels or ())


def _sureness(result: ImageResult) -> float:
    """Return the probability of the wrong label; multi-label: the largest of those, else 0."""
    if result.labels is None:
        return result.probability or 0.0
    pairs = zip(result.predicted_labels or (), result.probabilities or (), strict=True)
    return max((p for name, p in pairs if name not in result.labels), default=0.0)


def _probability(result: ImageResult) -> str:
    sureness = _sureness(result)
    return percent(sureness) if sureness else "–"


def _labels(result: ImageResult) -> tuple[str, str]:
    """Return the true and the predicted classes as text."""
    if result.labels is None:
        return result.label or "", result.predicted or ""
    return ";".join(result.labels) or "none", ";".join(result.predicted_labels or ()) or "none"
