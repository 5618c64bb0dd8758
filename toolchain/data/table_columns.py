"""Which column of a table is the image, its classes, its split and its group."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain.data.class_names import some_of
from toolchain.data.listed import is_file
from toolchain.data.table_text import FILE_COLUMNS, LABEL_COLUMNS, SPLIT_COLUMNS, first_of
from toolchain.errors import DataError
from toolchain.runtime.card import Task

TABLES: dict[Task, str] = {
    "multi-label": "labels.csv with a header: file, and labels (names with ; between) or a column "
    "of 0 and 1 for each class",
    "single-label": "a CSV with a header: image and label",
}


class NotOneClass(DataError):
    """A table or a line of it does not name one class for an image; its hint is of training."""


@dataclass(frozen=True)
class Columns:
    """The index of each column in a line."""

    header: tuple[str, ...]
    file: int
    split: int | None
    group: int | None
    label: int | None
    """Single-label: the column of the class."""
    labels: int | None
    """Multi-label: the column of the names of the classes."""
    classes: dict[str, int]
    """Class → index of its column of 0 and 1; empty where there is another column of classes."""
    unused: tuple[str, ...] = ()
    headless: bool = False
    """Whether the first line is a row already."""

    @property
    def label_name(self) -> str:
        """What the column of the class is called; empty for multi-label."""
        return "" if self.label is None else self.header[self.label]


def columns_of(
    table: Path, header: list[str], task: Task, group_column: str, label_column: str = ""
) -> Columns | None:
    """Return the columns of a table by its first line.

    `label_column` is that of the training table before it: None is returned where this table has
    neither it nor another column of labels. Raises DataError for a table in which no column is
    certain to be the class.
    """
    if not header:
        raise DataError(f"{table} is empty", hint=f"expected {TABLES[task]}")
    # pandas writes its index as a first column without a name.
    named = [i for i, name in enumerate(header) if name]
    file = first_of(FILE_COLUMNS, header)
    file = named[0] if file is None else file
    group = _group(table, header, group_column)
    if is_file(table.parent / header[file]):
        if task == "single-label" and len(header) == 2:
            return Columns(("image", "label"), 0, None, group, 1, None, {}, headless=True)
        raise DataError(
            f"{table}, line 1: {header[file]} is an image; the first line names the columns",
            hint=f"expected {TABLES[task]}",
        )
    split = first_of(SPLIT_COLUMNS, header)
    others = [i for i in named if i not in (file, split, group)]
    if task == "single-label":
        label = _label(table, header, others, label_column)
        if label is None:
            return None
        unused = tuple(header[i] for i in others if i != label)
        return Columns(tuple(header), file, split, group, label, None, {}, unused)
    return _multi(table, header, file, split, group, others)


def _group(table: Path, header: list[str], group_column: str) -> int | None:
    if not group_column:
        return None
    if group_column not in header:
        raise DataError(
            f"{table}, line 1: no column '{group_column}'; it has {some_of(header)}",
            hint="--group-column names the column whose equal cells keep images together",
        )
    return header.index(group_column)


def _label(table: Path, header: list[str], others: list[int], label_column: str) -> int | None:
    """Return the column of the class, among `others`; None where it is not in this table."""
    candidates = [header[i] for i in others]
    if label_column in candidates:
        return others[candidates.index(label_column)]
    if (known := first_of(LABEL_COLUMNS, candidates)) is not None:
        return others[known]
    if label_column:
        return None
    if len(others) == 1:
        return others[0]
    if not others:
        raise DataError(
            f"{table}, line 1: {some_of(header)!r} has no column of labels",
            hint=f"expected {TABLES['single-label']}",
        )
    raise NotOneClass(
        f"{table}, line 1: which of {some_of(candidates)} is the class?",
        hint="call its column label; for a column of 0 and 1 for each class, --task multi-label",
    )


def _multi(
    table: Path,
    header: list[str],
    file: int,
    split: int | None,
    group: int | None,
    others: list[int],
) -> Columns:
    labels = first_of(("labels",), header)
    others = [i for i in others if i != labels]
    if repeated := {header[i] for i in others if header.count(header[i]) > 1}:
        raise DataError(
            f"{table}, line 1: several columns are called '{min(repeated)}'",
            hint="give each class one column",
        )
    if labels is not None and others:
        raise DataError(
            f"{table}, line 1: beside 'labels' stand {some_of(header[i] for i in others)}",
            hint="keep the column 'labels', or a column for each class",
        )
    if labels is None and not others:
        raise DataError(
            f"{table}, line 1: {some_of(header)!r} names no classes",
            hint=f"expected {TABLES['multi-label']}; columns are separated by commas",
        )
    classes = {header[i]: i for i in others}
    return Columns(tuple(header), file, split, group, None, labels, classes)
