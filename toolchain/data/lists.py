"""Text lists of images: a line is a path and a label.

    img/1.jpg cat
    img/my cat.jpg granny smith
    "img/2, old.jpg", ice cream
    img/3.jpg<TAB>dog

The two are separated by a tab, a comma, a semicolon, a | or a space; either may stand in double
quotes. Where a line can be read in several ways, the one whose file exists is meant. A line that
begins with `#` is a comment, unless a file is called so.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from toolchain.data.class_names import LabelledPaths, class_name, class_names, shortened
from toolchain.data.left_out import Account
from toolchain.data.listed import ListedFiles, is_file, read_text
from toolchain.data.table_text import FILE_COLUMNS, LABEL_COLUMNS
from toolchain.data.wrong_lines import WrongLines
from toolchain.errors import DataError

FORM = "each line is a path and a label, separated by a tab, a comma or a space"
SEPARATORS = ("\t", ",", ";", "|")


def read_list(file: Path, split: str, account: Account) -> LabelledPaths:
    """Return (path, class) of each line; comments go to the account.

    Paths are relative to the list's folder. Raises DataError with the numbers of the lines that are
    none.
    """
    samples: LabelledPaths = []
    files, wrong = ListedFiles(file.parent), WrongLines()
    lines = read_text(file, "a list of `path label` lines").replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        text = line.strip("\r ") if "\t" in line else line.strip()
        if not text.strip():
            continue
        pairs = list(_readings(text))
        found = next((pair for pair in pairs if is_file(file.parent / pair[0])), None)
        if found is None and text.startswith("#"):
            account.add(
                file.parent / f"{file.name}, line {number}", "line", "a comment", place=file
            )
            continue
        if found is None and number == 1 and _is_header(pairs):
            continue
        with wrong.line(number):
            path, label = _named(files, pairs, found, split, f"{file}, line {number}", text)
            samples.append((path, (class_name(label),)))
    wrong.raise_any()
    return samples


def _named(
    files: ListedFiles,
    pairs: list[tuple[str, str]],
    found: tuple[str, str] | None,
    split: str,
    where: str,
    text: str,
) -> tuple[Path, str]:
    """Return the file and the label of a line; raise DataError where no reading has a file."""
    if not pairs:
        wrong = "has no label" if is_file(files.folder / text) else "is not `path label`"
        raise DataError(f"{where}: {shortened(text)!r} {wrong}", hint=FORM)
    if found is not None:
        return files.folder / found[0], found[1]
    for name, label in pairs:
        try:
            path = files.find(name, split)
        except DataError as error:
            raise DataError(f"{where}: {error}", hint=error.hint) from error
        if path is not None:
            return path, label
    if is_file(files.folder / text):
        raise DataError(f"{where}: {shortened(text)!r} has no label", hint=FORM)
    if any(is_file(files.folder / label) for _, label in pairs):
        raise DataError(f"{where}: the label stands before the path", hint=FORM)
    raise DataError(
        f"{where}: {files.folder / shortened(pairs[0][0])} does not exist",
        hint=f"{FORM}; paths are relative to {files.folder}",
    )


def _readings(line: str) -> Iterator[tuple[str, str]]:
    """Yield (path, label) in each way that a line can be read, the most likely first."""
    for separator in SEPARATORS:
        cells = _cells(line, separator)
        if len(cells) == 2 and all(cells):
            yield cells[0], cells[1]
    if line.startswith('"') and '"' in line[1:]:
        name, _, rest = line[1:].partition('"')
        if name and (label := _unquoted(rest.strip(" \t,;"))):
            yield name, label
    if line.endswith('"') and line.count('"') == 2:
        name, _, label = line[:-1].partition('"')
        if name.strip(" \t,;") and label:
            yield name.strip(" \t,;"), label
    for at in reversed([i for i, letter in enumerate(line) if letter == " "]):
        name, label = line[:at].strip(), line[at:].strip()
        if name and label:
            yield _unquoted(name), _unquoted(label)


def _cells(line: str, separator: str) -> list[str]:
    """Return the cells of a line with this separator; empty where its quotes do not close."""
    if separator not in line:
        return []
    try:
        [cells] = csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True)
    except (csv.Error, ValueError):
        return []
    return [cell.strip() for cell in cells]


def _unquoted(text: str) -> str:
    quoted = len(text) > 2 and text[0] == text[-1] == '"'
    return text[1:-1] if quoted else text


def _is_header(pairs: list[tuple[str, str]]) -> bool:
    return any(n.lower() in FILE_COLUMNS and t.lower() in LABEL_COLUMNS for n, t in pairs)


def with_class_names(images: dict[str, LabelledPaths]) -> dict[str, LabelledPaths]:
    """Replace integer labels by folder names where numbers and folders match one to one.

    `./food/apple/1.jpg 0` then means class "apple". Otherwise the labels stay as they are written,
    numbers padded with zeros so that they sort as numbers.
    """
    everything = [item for samples in images.values() for item in samples]
    labels = class_names(everything)
    if not all(label.isdecimal() for label in labels):
        return images
    pairs = {(label, class_name(path.parent.name)) for path, (label,) in everything}
    if len(pairs) == len(labels) == len({folder for _, folder in pairs}):
        names = dict(pairs)
    else:
        width = max((len(label) for label in labels), default=0)
        names = {label: label.zfill(width) for label in labels}
    return {
        split: [(path, (names[label],)) for path, (label,) in items]
        for split, items in images.items()
    }
