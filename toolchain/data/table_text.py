"""What the columns of a table are called, and how its text becomes rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from toolchain.data.listed import read_text
from toolchain.errors import DataError

# In the order in which a column is taken where a table has several.
FILE_COLUMNS = (
    "file", "path", "image", "filename", "file_name", "filepath", "file_path", "image_path",
    "imagepath", "image_file", "image_name", "imagename", "img", "img_path", "img_name",
    "photo", "picture", "image_id", "imageid", "id",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "labels", "class", "classes", "class_name", "classname", "class_label", "category",
    "target", "species", "breed", "diagnosis", "dx", "tag", "y",
)  # fmt: skip
SPLIT_COLUMNS = ("split", "subset", "partition")
DELIMITERS = (",", "\t", ";", "|")


def first_of(names: tuple[str, ...], header: list[str]) -> int | None:
    """Return the index of the column that has one of these names, the first name first."""
    lower = [name.lower() for name in header]
    return next((lower.index(name) for name in names if name in lower), None)


def table_lines(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells) of each line that is not blank; quoted cells may span lines.

    Cells are separated by commas, or by tabs, semicolons or | where the first line has no comma.
    Raises DataError for a file that is no table.
    """
    text = read_text(table, "a CSV")
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = next((mark for mark in DELIMITERS if mark in first), ",")
    # Strict, because an unclosed quote would otherwise take in all lines after it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield reader.line_num, stripped
    except csv.Error as error:
        raise DataError(
            f"{table}, line {reader.line_num}: {error}", hint="look for a quote that is not closed"
        ) from error
