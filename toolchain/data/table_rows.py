"""A line of a table: the image, its classes, its split and its group."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain.data.class_names import class_name
from toolchain.data.listed import ListedFiles
from toolchain.data.split_names import split_named
from toolchain.data.table_columns import Columns, NotOneClass
from toolchain.errors import DataError

# The spellings of 0 and 1 in files from spreadsheets and pandas.
FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


@dataclass(frozen=True)
class Row:
    """One image of a table."""

    path: Path
    classes: tuple[str, ...]
    split: str
    """train, val or test; empty where the table has no column of splits."""
    group: str
    """Empty where the table has no column of groups."""


def read_row(
    where: str, files: ListedFiles, columns: Columns, cells: list[str], split: str | None
) -> Row:
    """Return a row. `where` names its line for the DataError that a wrong one raises.

    `split` is that of the whole table, where it is named for one.
    """
    if len(cells) != len(columns.header):
        raise DataError(
            f"{where}: {len(cells)} cells, where the header has {len(columns.header)}",
            hint="a name with a comma in it stands in double quotes",
        )
    own_split = _split(where, cells, columns)
    path = _file(where, files, cells[columns.file], split or own_split or None)
    classes: tuple[str, ...]
    if columns.label is not None:
        classes = _class(where, cells[columns.label], columns.header[columns.label])
    elif columns.labels is not None:
        classes = _names(cells[columns.labels])
    else:
        classes = _flagged(where, cells, columns)
    group = "" if columns.group is None else cells[columns.group]
    return Row(path, classes, own_split, group)


def _file(where: str, files: ListedFiles, name: str, split: str | None) -> Path:
    try:
        path = files.find(name, split)
    except DataError as error:
        raise DataError(f"{where}: {error}", hint=error.hint) from error
    if path is None:
        raise DataError(
            f"{where}: {files.folder / name} does not exist" if name else f"{where}: no file",
            hint=f"files are relative to {files.folder}",
        )
    return path


def _class(where: str, cell: str, column: str) -> tuple[str, ...]:
    if not cell:
        raise NotOneClass(
            f"{where}: no class in column '{column}'",
            hint="fill it in or remove the line; --task multi-label reads images without a class",
        )
    if ";" in cell or "|" in cell:
        raise NotOneClass(
            f"{where}: '{cell}' are several classes in column '{column}'", hint="--task multi-label"
        )
    return (class_name(cell),)


def _names(cell: str) -> tuple[str, ...]:
    names = (class_name(name.strip()) for name in cell.replace("|", ";").split(";"))
    return tuple(sorted({name for name in names if name}))


def _flagged(where: str, cells: list[str], columns: Columns) -> tuple[str, ...]:
    for name, column in columns.classes.items():
        if cells[column].lower() not in FLAGS:
            raise DataError(
                f"{where}: {cells[column]!r} in column '{name}' is not 0 or 1",
                hint="a column other than file and split is a class; names of classes stand in a "
                "column 'labels'",
            )
    return tuple(
        sorted(
            class_name(name)
            for name, column in columns.classes.items()
            if FLAGS[cells[column].lower()]
        )
    )


def _split(where: str, cells: list[str], columns: Columns) -> str:
    if columns.split is None:
        return ""
    split = split_named(cells[columns.split])
    if split is None:
        raise DataError(
            f"{where}: {cells[columns.split]!r} is not a split", hint="train, val or test"
        )
    return split
