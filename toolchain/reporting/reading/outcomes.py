"""The evaluated images by what became of them: a group for each cell of the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.reporting.reading.stored_evaluation import StoredEvaluation


@dataclass(frozen=True, eq=False)
class Outcome:
    """Images with the same label and the same answer."""

    key: str
    """The anchor of the group in the page."""
    title: str
    indices: NDArray[np.int64]
    """Rows of the evaluation: wrong ones the most certain first, right ones the least certain."""
    wrong: bool
    row: int
    column: int


def outcomes(evaluation: StoredEvaluation) -> list[Outcome]:
    """Return the groups that have images: the wrong ones first, the largest first."""
    found = _of_classes(evaluation) if evaluation.multi_label else _of_pairs(evaluation)
    return sorted(found, key=lambda group: (not group.wrong, -len(group.indices)))


def _of_pairs(evaluation: StoredEvaluation) -> list[Outcome]:
    truth, predicted = evaluation.truth.argmax(axis=1), evaluation.predicted.argmax(axis=1)
    classes, count = evaluation.classes, len(evaluation.classes)
    cells = truth * count + predicted
    groups = []
    for cell in np.unique(cells):
        row, column = divmod(int(cell), count)
        wrong = row != column
        title = (
            f"{classes[row]}, taken for {classes[column]}" if wrong else f"{classes[row]}, right"
        )
        members = np.flatnonzero(cells == cell)
        groups.append(_outcome(evaluation, title, members, wrong, row, column))
    return groups


MULTI_LABEL_COLUMNS = ("found", "missed", "wrongly found")
"""Multi-label: what becomes of a class of an image. Images rightly without it are no group."""


def _of_classes(evaluation: StoredEvaluation) -> list[Outcome]:
    truth, predicted = evaluation.truth, evaluation.predicted
    groups = []
    for row, name in enumerate(evaluation.classes):
        own, given = truth[:, row], predicted[:, row]
        for column, chosen in enumerate((own & given, own & ~given, ~own & given)):
            if chosen.any():
                title = f"{name}, {MULTI_LABEL_COLUMNS[column]}"
                members = np.flatnonzero(chosen)
                groups.append(_outcome(evaluation, title, members, column > 0, row, column))
    return groups


def _outcome(
    evaluation: StoredEvaluation,
    title: str,
    members: NDArray[np.int64],
    wrong: bool,
    row: int,
    column: int,
) -> Outcome:
    certain = evaluation.confidence[members]
    order = np.argsort(-certain if wrong else certain, kind="stable")
    return Outcome(f"cell-{row}-{column}", title, members[order], wrong, row, column)


def shared_out(groups: Sequence[Outcome], most_right: int) -> list[int]:
    """Return rows of the evaluation in the order in which their photographs matter.

    All wrong ones come first; then of each group of right ones the first `most_right`, in turns.
    """
    rows = [int(i) for group in groups if group.wrong for i in group.indices]
    right = [group.indices[:most_right] for group in groups if not group.wrong]
    for turn in range(most_right):
        rows += [int(indices[turn]) for indices in right if turn < len(indices)]
    return list(dict.fromkeys(rows))
