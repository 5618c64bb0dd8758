"""Labels from a CSV: any number of classes an image (multi-label), or one (single-label).

    file,labels                  file,cat,dog,split           image,label
    img/1.jpg,cat;dog            img/1.jpg,1,1,train          1.jpg,cat
    img/2.jpg,                   img/2.jpg,0,0,val            2.jpg,dog

The first line names the columns. The image is in the column file, path, image, filename or id, else
in the first column, as a path relative to the CSV's folder or as a name that one image has.
Multi-label: the classes are in one column `labels`, with `;` or `|` between the names, or each has
a column of 0 and 1. Single-label: the class is in the column label or class, else in the only other
column. A column `split` is optional; without it `train.csv` takes the `val.csv` and `test.csv`
beside it, and any other CSV is split 7:1:2 by a stable hash of the files' names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain.data.class_names import LabelledPaths, class_name, class_names
from toolchain.data.left_out import Account
from toolchain.data.listed import ListedFiles
from toolchain.data.split_names import SPLITS, named_for_splits
from toolchain.data.splits import SplitImages, Splitting, split_images
from toolchain.data.table_columns import TABLES, Columns, columns_of
from toolchain.data.table_rows import Row, read_row
from toolchain.data.table_text import table_lines
from toolchain.data.wrong_lines import WrongLines
from toolchain.errors import DataError
from toolchain.runtime.card import Task


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


def only_table(folder: Path) -> dict[Path, str | None]:
    """Return the only CSV of a folder; empty where there are none or several."""
    tables = [f for f in folder.iterdir() if f.is_file() and f.suffix.lower() == ".csv"]
    return {tables[0]: None} if len(tables) == 1 else {}


def read_tables(
    tables: dict[Path, str | None], root: Path, task: Task, splitting: Splitting, account: Account
) -> tuple[SplitImages, list[str]]:
    """Return (the images of each split and their classes, notes about the columns).

    `tables` is the result of `find_tables`. Raises DataError naming the file and the line that is
    wrong, or the class that no training image has.
    """
    images: dict[str, LabelledPaths] = {split: [] for split in SPLITS}
    found = SplitImages(images, "the tables " + ", ".join(table.name for table in tables))
    notes: list[str] = []
    declared: set[str] = set()
    label = ""
    for table, split in tables.items():
        read = _read_table(table, split, task, splitting.group_column, label, account)
        if read is None:
            continue
        declared |= {class_name(name) for name in read.columns.classes}
        label = label or read.columns.label_name
        notes += read.notes
        found.groups |= {row.path: row.group for row in read.rows if row.group}
        _sort_into_splits(read, split, root, splitting, found)
    where = ", ".join(str(table) for table in tables)
    _require_classes(images, declared, where, task)
    return found, notes


@dataclass
class _TableRows:
    table: Path
    columns: Columns
    rows: list[Row]
    notes: list[str]


def _sort_into_splits(
    read: _TableRows, split: str | None, root: Path, splitting: Splitting, found: SplitImages
) -> None:
    """Add the rows to their splits, and say where those come from."""
    columns, table = read.columns, read.table
    if split is not None and columns.split is not None:
        raise DataError(
            f"{table} is named for a split and has a column '{columns.header[columns.split]}'",
            hint="remove the column, or rename the file to labels.csv",
        )
    labelled = [(row.path, row.classes) for row in read.rows]
    if split is None and columns.split is None:
        hashed = split_images(labelled, root, splitting, found.groups)
        found.images.update(hashed.images)
        found.split_by, found.by_hash = hashed.split_by, True
        return
    for row, item in zip(read.rows, labelled, strict=True):
        found.images[split or row.split].append(item)
    if columns.split is not None:
        found.split_by = f"the column '{columns.header[columns.split]}' of {table.name}"


def _require_classes(
    images: dict[str, LabelledPaths], declared: set[str], where: str, task: Task
) -> None:
    if not images["train"]:
        raise DataError(f"{where}: no training images", hint=f"expected {TABLES[task]}")
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


def _read_table(
    table: Path,
    split: str | None,
    task: Task,
    group_column: str,
    label_column: str,
    account: Account,
) -> _TableRows | None:
    """Return the rows of a table; None for one without labels beside a `train.csv` with them."""
    lines = list(table_lines(table))
    files = ListedFiles(table.parent)
    header = lines[0][1] if lines else []
    columns = columns_of(table, header, task, group_column, label_column)
    if columns is None:
        account.add(table, "file", "without labels")
        return None
    rows: dict[Path, Row] = {}
    lines_of: dict[Path, int] = {}
    wrong = WrongLines()
    for number, cells in lines[0 if columns.headless else 1 :]:
        with wrong.line(number):
            where = f"{table}, line {number}"
            row = read_row(where, files, columns, cells, split)
            if row.path in rows:
                raise DataError(
                    f"{where}: {cells[columns.file]} stands in line {lines_of[row.path]} already",
                    hint="give an image one line"
                    + (" with all of its classes" if task == "multi-label" else ""),
                )
            rows[row.path], lines_of[row.path] = row, number
    wrong.raise_any()
    return _TableRows(table, columns, list(rows.values()), _notes(table, columns, files))


def _notes(table: Path, columns: Columns, files: ListedFiles) -> list[str]:
    notes = []
    if files.by_name:
        notes.append(f"{table.name}: {files.by_name:,} images were found by their name alone")
    if columns.unused:
        notes.append(f"{table.name}: columns that are not used: {', '.join(columns.unused)}")
    return notes


def labelled_images(table: Path) -> list[tuple[Path, str]]:
    """Return (image, name of its class) of each line of a single-label CSV, whatever its split.

    Raises DataError naming the file and the line that is wrong.
    """
    read = _read_table(table, None, "single-label", "", "", Account(table.parent))
    return [(row.path, row.classes[0]) for row in read.rows] if read else []
