"""Multi-label data: a CSV in which an image has any number of classes.

    file,labels                  file,cat,dog,split
    img/1.jpg,cat;dog            img/1.jpg,1,1,train
    img/2.jpg,                   img/2.jpg,0,0,val

The first line names the columns. The image is in the column file, path, image or filename, else in
the first column, as a path relative to the CSV's folder. The classes are in one column `labels`,
with `;` or `|` between the names, or each has a column of 0 and 1. A column `split` is optional;
without it `train.csv` takes the `val.csv` and `test.csv` beside it, and any other CSV is split
7:1:2 by a stable hash of the files' names.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolchain.data.splits import (
    BY_HASH,
    SPLIT_NAMES,
    LabelledPaths,
    class_names,
    named_for_splits,
    split_classes,
)
from toolchain.errors import DataError

TABLES = (
    "labels.csv with a header: file, and labels (names with ; between) or a column of 0 and 1 "
    "for each class"
)
FILE_COLUMNS = ("file", "path", "image", "filename")
# The spellings of 0 and 1 in files from spreadsheets and pandas.
FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
SPLIT_OF_NAME = {name: split for split, names in SPLIT_NAMES.items() for name in names}


@dataclass(frozen=True)
class _Columns:
    """The index of each column in a line."""

    count: int
    file: int
    split: int | None
    labels: int | None
    classes: dict[str, int]
    """Class → index of its column of 0 and 1; empty where there is a column `labels`."""


@dataclass(frozen=True)
class _Row:
    path: Path
    classes: tuple[str, ...]
    split: str
    """train, val or test; empty where the table has no column `split`."""


def find_tables(path: Path) -> dict[Path, str | None]:
    """Return the CSV files that a path refers to, each with the split that all its rows are in.

    The split is None for a file that is not named for one. A folder refers to `train.csv` and the
    `val.csv` and `test.csv` beside it, else for `labels.csv`. Empty where there is no such file.
    """
    folder = path.parent if path.is_file() else path
    tables = sorted(f for f in folder.iterdir() if f.is_file() and f.suffix.lower() == ".csv")
    named: dict[Path, str | None] = {t: split for split, t in named_for_splits(tables).items()}
    if path.is_file():
        alone: dict[Path, str | None] = {path: None} if path in tables else {}
        return named if path in named else alone
    if "train" in named.values():
        return named
    return {table: None for table in tables if table.name.lower() == "labels.csv"}


def read_tables(tables: dict[Path, str | None], root: Path) -> tuple[dict[str, LabelledPaths], str]:
    """Return (the images of each split and their classes, where the splits come from).

    `tables` is the result of `find_tables`. Raises DataError naming the file and the line that is
    wrong, or the class that no training image has.
    """
    images: dict[str, LabelledPaths] = {"train": [], "val": [], "test": []}
    declared: set[str] = set()
    split_by = "the tables " + ", ".join(table.name for table in tables)
    for table, split in tables.items():
        columns, rows = _read_table(table)
        declared |= columns.classes.keys()
        if split is not None and columns.split is not None:
            raise DataError(
                f"{table} is named for a split and has a column 'split'",
                hint="remove the column, or rename the file to labels.csv",
            )
        if split is not None:
            splits = [split] * len(rows)
        elif columns.split is not None:
            splits = [row.split for row in rows]
            split_by = f"the column 'split' of {table.name}"
        else:
            splits, split_by = _by_hash(rows, root)
        for row, row_split in zip(rows, splits, strict=True):
            images[row_split].append((row.path, row.classes))
    _require_classes(images, declared, tables)
    return images, split_by


def _by_hash(rows: list[_Row], root: Path) -> tuple[list[str], str]:
    names = [
        (row.path.relative_to(root) if row.path.is_relative_to(root) else row.path).as_posix()
        for row in rows
    ]
    splits, moved = split_classes(names, [row.classes for row in rows])
    if not moved:
        return splits, BY_HASH
    return splits, f"{BY_HASH}, but for {moved} moved so that train and val meet every class"


def _require_classes(
    images: dict[str, LabelledPaths], declared: set[str], tables: dict[Path, str | None]
) -> None:
    where = ", ".join(str(table) for table in tables)
    if not images["train"]:
        raise DataError(f"{where}: no training images", hint=f"expected {TABLES}")
    known = class_names(images["train"])
    every_class = declared.union(*(class_names(items) for items in images.values()))
    if lacking := sorted(every_class - known):
        raise DataError(
            f"{where}: no training image has the class {', '.join(lacking)}",
            hint="give it training images, or take it out of the table",
        )
    if len(known) < 2:
        only = f"only one class, '{min(known)}'" if known else "no class"
        raise DataError(
            f"{where}: {only}; a classifier needs two or more",
            hint="for one class and its opposite, give both a name",
        )


def _read_table(table: Path) -> tuple[_Columns, list[_Row]]:
    lines = _lines(table)
    _, header = next(lines, (1, []))
    columns = _columns(table, header)
    rows = []
    lines_of: dict[Path, int] = {}
    for number, cells in lines:
        where = f"{table}, line {number}"
        row = _row(where, table.parent, columns, cells)
        if row.path in lines_of:
            raise DataError(
                f"{where}: {cells[columns.file]} stands in line {lines_of[row.path]} already",
                hint="give an image one line with all of its classes",
            )
        lines_of[row.path] = number
        rows.append(row)
    return columns, rows


def _lines(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each line that is not blank; quoted cells may span lines."""
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{table} is not a CSV in UTF-8", hint="save it again as CSV UTF-8"
        ) from error
    # Strict, because an unclosed quote would otherwise take in all lines after it.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise DataError(
            f"{table}, line {reader.line_num}: {error}", hint="look for a quote that is not closed"
        ) from error


def _columns(table: Path, header: list[str]) -> _Columns:
    if not header:
        raise DataError(f"{table} is empty", hint=f"expected {TABLES}")
    lower = [name.lower() for name in header]
    # pandas writes its index as a first column without a name.
    with_name = [i for i, name in enumerate(header) if name]
    file = next((i for i in with_name if lower[i] in FILE_COLUMNS), with_name[0])
    if _is_file(table.parent / header[file]):
        raise DataError(
            f"{table}, line 1: {header[file]} is an image; the first line names the columns",
            hint=f"expected {TABLES}",
        )
    split = lower.index("split") if "split" in lower else None
    labels = lower.index("labels") if "labels" in lower else None
    others = [i for i in with_name if i not in (file, split, labels)]
    if repeated := {header[i] for i in others if header.count(header[i]) > 1}:
        raise DataError(
            f"{table}, line 1: several columns are called '{min(repeated)}'",
            hint="give each class one column",
        )
    if labels is not None and others:
        raise DataError(
            f"{table}, line 1: beside 'labels' stand {', '.join(header[i] for i in others)}",
            hint="keep the column 'labels', or a column for each class",
        )
    if labels is None and not others:
        raise DataError(
            f"{table}, line 1: {', '.join(header)!r} names no classes",
            hint=f"expected {TABLES}; columns are separated by commas",
        )
    return _Columns(len(header), file, split, labels, {header[i]: i for i in others})


def _row(where: str, folder: Path, columns: _Columns, cells: list[str]) -> _Row:
    if len(cells) != columns.count:
        raise DataError(
            f"{where}: {len(cells)} cells, where the header has {columns.count}",
            hint="a name with a comma in it stands in double quotes",
        )
    name = cells[columns.file]
    path = folder / name
    if not name or not _is_file(path):
        raise DataError(
            f"{where}: {path} does not exist" if name else f"{where}: no file",
            hint=f"files are relative to {folder}",
        )
    classes = (
        _names(cells, columns) if columns.labels is not None else _flagged(where, cells, columns)
    )
    return _Row(path, classes, _split(where, cells, columns))


def _names(cells: list[str], columns: _Columns) -> tuple[str, ...]:
    assert columns.labels is not None
    names = (name.strip() for name in cells[columns.labels].replace("|", ";").split(";"))
    return tuple(sorted({name for name in names if name}))


def _flagged(where: str, cells: list[str], columns: _Columns) -> tuple[str, ...]:
    for name, column in columns.classes.items():
        if cells[column].lower() not in FLAGS:
            raise DataError(
                f"{where}: {cells[column]!r} in column '{name}' is not 0 or 1",
                hint="a column other than file and split is a class; names of classes stand in a "
                "column 'labels'",
            )
    return tuple(sorted(n for n, column in columns.classes.items() if FLAGS[cells[column].lower()]))


def _split(where: str, cells: list[str], columns: _Columns) -> str:
    if columns.split is None:
        return ""
    name = cells[columns.split].lower()
    if name not in SPLIT_OF_NAME:
        raise DataError(
            f"{where}: {cells[columns.split]!r} is not a split", hint="train, val or test"
        )
    return SPLIT_OF_NAME[name]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text in the wrong column that is too long for a file name
        return False
