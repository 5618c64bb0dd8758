"""Images that a list tells to leave out: a fix list of `rtl data check`, or a path a line."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from toolchain.data.fix_list import COLUMNS, EXCLUDE
from toolchain.data.layouts import Dataset, Sample
from toolchain.data.left_out import Account, LeftOut
from toolchain.data.listed import read_text
from toolchain.data.split_names import SPLITS
from toolchain.display import counted
from toolchain.errors import DataError

SEPARATORS = ",;\t"


def without_excluded(dataset: Dataset, file: str) -> Dataset:
    """Return a data set without the images that a list names; "" names none.

    They are in `left_out`, and names that are no image of the data set in a note. The splits of the
    other images stay as they are. Raises DataError for a list that can't be read, and where no
    training or no validation image of the data set, or of a class no training image, is left.
    """
    if not file:
        return dataset
    names = list(dict.fromkeys(read_exclusion(Path(file))))
    images = _by_name(dataset, Path(file))
    excluded = {images[name] for name in names if name in images}
    unknown = [name for name in names if name not in images]
    train, val, test = (
        tuple(sample for sample in dataset.split(split) if sample.path not in excluded)
        for split in SPLITS
    )
    kept = replace(dataset, train=train, val=val, test=test)
    _require_enough(dataset, kept, file)
    notes = dataset.notes
    if unknown:
        names_of_none = f"{counted(len(unknown), 'name')} of no image here"
        notes = (*notes, f"{file} has {names_of_none}: {unknown[0]}")
    return replace(
        kept,
        left_out=(*dataset.left_out, *_left_out(dataset, excluded)),
        notes=notes,
        excluded=tuple(sorted(dataset.name_of(path) for path in excluded)),
    )


def read_exclusion(file: Path) -> Iterator[str]:
    """Yield the names in a list, in one form of Unicode.

    A first line with the columns of a fix list makes it one: of its rows those count whose
    suggestion begins with `exclude`. Spreadsheets write it with semicolons or tabs too. Else each
    line is a name; empty lines and `#` are passed over.
    """
    text = read_text(file, "a list of files")
    separator = _separator(text.partition("\n")[0])
    if separator is not None:
        # A name may hold any character, so a row may have several lines.
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        named = [row[0] for row in rows if len(row) >= 3 and _excludes(row[2])]
    else:
        lines = (line.strip() for line in text.split("\n"))
        named = [line for line in lines if not line.startswith("#")]
    return (_composed(name) for name in named if name)


def _separator(header: str) -> str | None:
    """Return what separates the columns of a fix list; None where the line is not its header."""
    for separator in SEPARATORS:
        cells = next(csv.reader([header], delimiter=separator), [])
        if [cell.strip().lower() for cell in cells[: len(COLUMNS)]] == list(COLUMNS):
            return separator
    return None


def _excludes(suggestion: str) -> bool:
    return suggestion.strip().lower().startswith(EXCLUDE)


def _by_name(dataset: Dataset, file: Path) -> dict[str, Path]:
    """Return the image of each way to name it: within the data, from the list, or absolutely."""
    found: dict[str, Path] = {}
    places = (dataset.root.absolute(), file.absolute().parent, Path.cwd())
    for split in SPLITS:
        for sample in dataset.split(split):
            found.setdefault(_composed(dataset.name_of(sample.path)), sample.path)
            absolute = sample.path.absolute()
            found.setdefault(_composed(str(absolute)), sample.path)
            for place in places:
                if absolute.is_relative_to(place):
                    name = absolute.relative_to(place).as_posix()
                    found.setdefault(_composed(name), sample.path)
    return found


def _left_out(dataset: Dataset, excluded: set[Path]) -> tuple[LeftOut, ...]:
    account = Account(dataset.root)
    for path in sorted(excluded):
        account.add(path, "image", "excluded by the list")
    return account.entries()


def _require_enough(before: Dataset, after: Dataset, file: str) -> None:
    def classes(samples: tuple[Sample, ...]) -> set[int]:
        return {label for sample in samples for label in sample.labels}

    gone = [before.classes[i] for i in sorted(classes(before.train) - classes(after.train))]
    if gone:
        raise DataError(
            f"{file} excludes every training image of {', '.join(gone)}",
            hint="take some of them off the list, or the class out of the data",
        )
    if not after.val:
        raise DataError(
            f"{file} excludes every validation image", hint="take some of them off the list"
        )


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
