"""The part about results: confusion matrix, figures of each class, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from toolchain.display import percent
from toolchain.metrics.intervals import wilson_interval
from toolchain.reporting.charts.results import (
    Figure,
    coverage_figure,
    reliability_figure,
    threshold_figures,
)
from toolchain.reporting.charts.svg import Drawing, interval_bar
from toolchain.reporting.parts.photos import Group
from toolchain.reporting.reading.outcomes import MULTI_LABEL_COLUMNS, Outcome
from toolchain.reporting.reading.stored_evaluation import StoredEvaluation

MOST_CLASSES = 40
"""Classes of a matrix; of more, those with the most mistakes."""
MOST_NUMBERED = 16
"""With more classes than this the cells are small and the columns are numbered."""
MOST_PAIRS = 12


class Cell(NamedTuple):
    """One cell of a matrix."""

    images: int
    share: float
    """Of the images in its row, in 0…1."""
    key: str
    """Anchor of its images; empty for none."""
    right: bool
    title: str


class Matrix(NamedTuple):
    """A confusion matrix, or what became of each class."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, int, Sequence[Cell]]]
    """(class, its number, cells)."""
    small: bool
    note: str


class Rate(NamedTuple):
    """A rate of one class with its interval; the texts are – where it can't be measured."""

    text: str
    interval: str
    value: float
    """To sort by; -1 where it can't be measured."""
    bar: Drawing | None


class ClassRow(NamedTuple):
    """The figures of one class."""

    name: str
    images: int
    precision: Rate
    recall: Rate
    f1: str
    f1_value: float


@dataclass(frozen=True)
class Results:
    """The part about results."""

    facts: list[tuple[str, str]]
    matrix: Matrix
    classes: list[ClassRow]
    figures: list[Figure]
    pairs: list[tuple[str, str, int, str]]
    """(label, answer, images, anchor) of what is confused most often."""
    groups: list[Group]
    without_logits: bool


def results(
    evaluation: StoredEvaluation, groups: Sequence[Outcome], photos: list[Group]
) -> Results:
    """Return the part; `photos` are the groups whose images are in the page."""
    file = evaluation.file
    facts = [("macro F1", percent(file.macro_f1))]
    facts += [] if file.auc is None else [("AUC", f"{file.auc:.3f}")]
    if file.calibration_error is not None:
        facts.append(("calibration error", percent(file.calibration_error)))
    facts.append(("loss", f"{file.loss:.3f}"))
    anchors = {one.key for one in photos}
    make = _class_matrix if evaluation.multi_label else _confusion
    figures = [reliability_figure(evaluation), coverage_figure(evaluation)]
    return Results(
        facts=facts,
        matrix=make(evaluation, groups, anchors),
        classes=_class_rows(evaluation),
        figures=[f for f in (*threshold_figures(evaluation), *figures) if f is not None],
        pairs=[] if evaluation.multi_label else _pairs(evaluation, groups, anchors),
        groups=photos,
        without_logits=evaluation.logits is None,
    )


def _confusion(
    evaluation: StoredEvaluation, groups: Sequence[Outcome], anchors: set[str]
) -> Matrix:
    names = evaluation.classes
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    for group in groups:
        counts[group.row, group.column] = len(group.indices)
    chosen, note = list(range(len(names))), ""
    if len(names) > MOST_CLASSES:
        mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
        chosen = sorted(np.argsort(-mistakes, kind="stable")[:MOST_CLASSES].tolist())
        note = f"The {MOST_CLASSES} classes with the most mistakes, of {len(names)}."
    totals = counts.sum(axis=1)
    rows = []
    for row in chosen:
        cells = [
            _cell(counts, row, column, totals[row], names[row], names[column], anchors)
            for column in chosen
        ]
        rows.append((names[row], row + 1, cells))
    small = len(chosen) > MOST_NUMBERED
    columns = [str(column + 1) if small else names[column] for column in chosen]
    return Matrix(columns, rows, small, note)


def _cell(
    counts: NDArray[np.int64],
    row: int,
    column: int,
    total: int,
    label: str,
    answer: str,
    anchors: set[str],
) -> Cell:
    count, key = int(counts[row, column]), f"cell-{row}-{column}"
    share = count / total if total else 0.0
    said = "right" if row == column else f"taken for {answer}"
    title = f"{label}, {said}: {count}"
    return Cell(count, share, key if key in anchors else "", row == column, title)


def _class_matrix(
    evaluation: StoredEvaluation, groups: Sequence[Outcome], anchors: set[str]
) -> Matrix:
    """Return for each class what was found, missed, and wrongly found."""
    by_place = {(group.row, group.column): group for group in groups}
    images = evaluation.truth.sum(axis=0)
    rows = []
    for row, name in enumerate(evaluation.classes):
        cells = []
        for column, word in enumerate(MULTI_LABEL_COLUMNS):
            group = by_place.get((row, column))
            count = 0 if group is None else len(group.indices)
            whole = images[row] if column < 2 else len(evaluation.truth) - images[row]
            key = group.key if group is not None and group.key in anchors else ""
            share = count / whole if whole else 0.0
            cells.append(Cell(count, float(share), key, column == 0, f"{name}, {word}: {count}"))
        rows.append((name, row + 1, cells))
    return Matrix(MULTI_LABEL_COLUMNS, rows, False, "")


def _class_rows(evaluation: StoredEvaluation) -> list[ClassRow]:
    hits = (evaluation.truth & evaluation.predicted).sum(axis=0)
    images, given = evaluation.truth.sum(axis=0), evaluation.predicted.sum(axis=0)
    return [
        ClassRow(
            row.label,
            row.images,
            _rate(int(hits[i]), int(given[i]), f"precision of {row.label}"),
            _rate(int(hits[i]), int(images[i]), f"recall of {row.label}"),
            percent(row.f1) if row.images else "–",
            row.f1 if row.images else -1.0,
        )
        for i, row in enumerate(evaluation.file.per_class)
    ]


def _rate(hits: int, of: int, name: str) -> Rate:
    if not of:
        return Rate("–", "", -1.0, None)
    low, high = wilson_interval(hits, of)
    interval = f"{percent(low)} to {percent(high)}"
    bar = interval_bar(hits / of, low, high, f"{name}: {interval}")
    return Rate(percent(hits / of), interval, hits / of, bar)


def _pairs(
    evaluation: StoredEvaluation, groups: Sequence[Outcome], anchors: set[str]
) -> list[tuple[str, str, int, str]]:
    names = evaluation.classes
    wrong = [group for group in groups if group.wrong][:MOST_PAIRS]
    return [
        (names[g.row], names[g.column], len(g.indices), g.key if g.key in anchors else "")
        for g in wrong
    ]
