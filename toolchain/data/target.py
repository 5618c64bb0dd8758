"""Photographs of another camera: which files a folder has, and the labels of some of them."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.data.class_names import class_name
from toolchain.data.label_table import labelled_images
from toolchain.data.left_out import Account, LeftOut, left_out_summary
from toolchain.data.table_columns import NotOneClass
from toolchain.data.walk import images_under
from toolchain.errors import DataError
from toolchain.files import A_URL, DOWNLOAD, as_url

LABELS = "labels.csv"


@dataclass(frozen=True)
class TargetFolder:
    """The images in a folder and below."""

    root: Path
    paths: tuple[Path, ...]
    """In the order of the walk."""
    labels: dict[Path, int]
    """Of the images in labels.csv: the index of the class."""
    left_out: tuple[LeftOut, ...]
    """What was seen and is no image."""


def read_target(folder: str, classes: Sequence[str], option: str) -> TargetFolder:
    """Return the images in a folder and below; `option` is what the user gave the folder with.

    Nothing is decoded. Raises DataError for no folder, a folder without images, and a labels.csv
    that can't be read or names a class that the model does not know.
    """
    root = Path(folder)
    try:
        return _read(root, classes, option)
    except OSError as error:  # a folder without access, a name that is too long
        place = error.filename or root
        raise DataError(f"{place}: {(error.strerror or str(error)).lower()}") from error


def _read(root: Path, classes: Sequence[str], option: str) -> TargetFolder:
    if url := as_url(root):
        raise DataError(f"{url}: {A_URL}", hint=DOWNLOAD)
    if not root.is_dir():
        raise DataError(
            f"{root}: " + ("is no folder" if root.exists() else "no such folder"),
            hint=f"{option} is a folder of photographs from where the model will work",
        )
    account = Account(root)
    found = list(images_under(root, on_left_out=account.add))
    if not found:
        passed_over = left_out_summary(account.entries()) if account.entries() else ""
        raise DataError(
            f"{root}: no images in this folder",
            hint=f"passed over: {passed_over}" if passed_over else None,
        )
    labels = _by_found_path(_labels(root, classes), found)
    paths = [*found, *sorted(labels.keys() - set(found))]
    return TargetFolder(root, tuple(paths), labels, account.entries())


def _by_found_path(labels: dict[Path, int], found: Sequence[Path]) -> dict[Path, int]:
    """Return labels by the paths of the walk: a table may name a file by another path to it."""
    elsewhere = labels.keys() - set(found)
    if not elsewhere:
        return labels
    by_place = {os.path.realpath(path): path for path in reversed(found)}
    named: dict[Path, int] = {}
    for path, label in labels.items():
        same = by_place.get(os.path.realpath(path), path) if path in elsewhere else path
        # Of two rows for one file both paths stay: their labels are compared with their content.
        named[path if same in labels or same in named else same] = label
    return named


def fingerprint_of(digests: Iterable[str]) -> str:
    """Return a sha256 over the digests of files, whatever their names and order."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def _labels(root: Path, classes: Sequence[str]) -> dict[Path, int]:
    """Return the labels in the table of a folder; empty where it has none."""
    table = next((file for file in sorted(root.iterdir()) if file.name.lower() == LABELS), None)
    if table is None or not table.is_file():
        return {}
    known = {class_name(name): index for index, name in enumerate(classes)}
    labels = {}
    try:
        rows = labelled_images(table)
    except NotOneClass as error:  # multi-label, which it hints at, has no other camera
        error.hint = "a photograph has one class; leave out those whose class is not known"
        raise
    if not rows:
        raise DataError(
            f"{table} names no photograph",
            hint="give a row for each labelled photograph, or take the table out of the folder",
        )
    for path, name in rows:
        if name not in known:
            raise DataError(
                f"{table}: '{name}' is no class of the model", hint=_classes_meant(name, classes)
            )
        labels[path] = known[name]
    return labels


def _classes_meant(name: str, classes: Sequence[str]) -> str:
    """Return a question with the class that is spelled nearest to `name`; else the classes."""
    by_folded = {other.casefold(): other for other in classes}
    near = difflib.get_close_matches(name.casefold(), by_folded, 1)
    return (
        f"did you mean '{by_folded[near[0]]}'?" if near else f"it knows {', '.join(classes[:20])}"
    )
