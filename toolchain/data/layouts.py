"""From a path to labelled samples: the layouts of folders, lists and tables that rtl reads.

1. `DATA/train/CLASS/*.jpg`, `DATA/val/CLASS/*.jpg`, optionally `DATA/test/CLASS/*.jpg`
2. `DATA/CLASS/*.jpg`, split 7:1:2 by a stable hash
3. `DATA/train.txt`, `DATA/val.txt` and/or `DATA/test.txt`, each line `path label`
4. multi-label: `DATA/labels.csv`, or `DATA/train.csv` beside `val.csv` and `test.csv`; see
   `label_table`

Classes are matched by name, never by position: one that `val/` lacks does not shift the others.
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from toolchain.data.label_table import TABLES, find_tables, read_tables
from toolchain.data.splits import (
    BY_HASH,
    LabelledPaths,
    carve,
    class_names,
    named_for_splits,
    split_class,
)
from toolchain.data.walk import images_under
from toolchain.errors import DataError
from toolchain.files import unicode_name
from toolchain.runtime.card import Task

LAYOUTS = "train/ and val/ with a folder for each class; or a folder for each class; or train.txt"

Label = int | tuple[int, ...]
"""An index into the data set's classes; for multi-label a sorted tuple of them, possibly empty."""


@dataclass(frozen=True)
class Sample:
    """One labelled image."""

    path: Path
    label: Label
    digest: str = field(default="", compare=False)
    """sha256 of the file's bytes, in hex; empty until the audit has read the file."""

    @property
    def labels(self) -> tuple[int, ...]:
        """The indices of all its classes, whatever the task."""
        return self.label if isinstance(self.label, tuple) else (self.label,)


@dataclass(frozen=True)
class Dataset:
    """Labelled images in splits. `train` and `val` are never empty; `test` may be."""

    root: Path
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    split_by: str
    """Where the splits come from, as the end of a sentence: "the folders train/, val/"."""
    task: Task = "single-label"

    def split(self, name: str) -> tuple[Sample, ...]:
        """Return the samples of `train`, `val` or `test`."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def name_of(self, path: Path) -> str:
        """Return a path relative to `root`, or else unchanged, with forward slashes, as text."""
        try:
            return unicode_name(path.relative_to(self.root).as_posix())
        except ValueError:
            return unicode_name(path.as_posix())


def read_dataset(path: str | os.PathLike[str], task: Task = "single-label") -> Dataset:
    """Find the images under a path and their labels.

    Nothing is decoded or written. Raises DataError for a path that no layout of the task fits, for
    fewer than two classes, and for a class of `val` or `test` that `train` lacks.
    """
    root = Path(path)
    if not root.exists():
        expected = TABLES if task == "multi-label" else LAYOUTS
        raise DataError(f"{root}: no such folder", hint=f"DATA is a folder with {expected}")
    if task == "multi-label":
        return _from_tables(root)
    return _from_file(root) if root.is_file() else _from_folder(root)


def _from_tables(path: Path) -> Dataset:
    tables = find_tables(path)
    if not tables:
        found = "is no CSV" if path.is_file() else "has no labels.csv and no train.csv"
        raise DataError(
            f"{path} {found}; multi-label reads its labels from one", hint=f"expected {TABLES}"
        )
    root = path.parent if path.is_file() else path
    images, split_by = read_tables(tables, root)
    return _assemble(root, images, split_by, task="multi-label")


def _from_file(file: Path) -> Dataset:
    if find_tables(file):
        raise DataError(
            f"{file} is a CSV, which is for images with any number of classes",
            hint="--task multi-label",
        )
    lists = _lists_in(file.parent)
    return _from_lists(lists if file in lists.values() else {"train": file}, file.parent)


def _from_folder(root: Path) -> Dataset:
    folders = named_for_splits(d for d in root.iterdir() if d.is_dir())
    lists = _lists_in(root)
    if "train" in folders:
        return _from_split_folders(folders, root)
    if "train" in lists:
        return _from_lists(lists, root)
    if folders:
        names = ", ".join(f"{folder.name}/" for folder in folders.values())
        raise DataError(f"{root} has {names} and no train/", hint=f"expected {LAYOUTS}")
    return _from_one_folder(root)


def _lists_in(folder: Path) -> dict[str, Path]:
    return named_for_splits(f for f in folder.iterdir() if f.is_file() and f.suffix == ".txt")


def _from_split_folders(folders: dict[str, Path], root: Path) -> Dataset:
    images = {split: _class_folders(folder) for split, folder in folders.items()}
    return _assemble(
        root, images, "the folders " + ", ".join(f"{f.name}/" for f in folders.values())
    )


def _from_one_folder(root: Path) -> Dataset:
    images: dict[str, LabelledPaths] = {"train": [], "val": [], "test": []}
    by_class: dict[str, list[Path]] = defaultdict(list)
    for path, (name,) in _class_folders(root):
        by_class[name].append(path)
    for name, paths in by_class.items():
        splits = split_class([path.relative_to(root).as_posix() for path in paths])
        for path, split in zip(paths, splits, strict=True):
            images[split].append((path, (name,)))
    return _assemble(root, images, BY_HASH)


def _class_folders(root: Path) -> LabelledPaths:
    """Return (path, class) of the images in each class folder, deeper folders included."""
    classes = sorted(d for d in root.iterdir() if d.is_dir() and not d.name.startswith("."))
    names = [(folder, unicode_name(folder.name)) for folder in classes]
    return [(path, (name,)) for folder, name in names for path in images_under(folder)]


def _from_lists(lists: dict[str, Path], root: Path) -> Dataset:
    images = {split: _read_list(file) for split, file in lists.items()}
    return _assemble(
        root, _with_class_names(images), "the lists " + ", ".join(f.name for f in lists.values())
    )


def _read_list(file: Path) -> LabelledPaths:
    """Read lines `path label`; a path may hold spaces and is relative to the list's folder."""
    samples: LabelledPaths = []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file} is not a list of `path label` lines in UTF-8", hint=f"expected {LAYOUTS}"
        ) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name:
            raise DataError(
                f"{file}, line {number}: {line.strip()!r} is not `path label`",
                hint="each line is a path, a space and a label",
            )
        path = file.parent / name.strip()
        if not path.is_file():
            raise DataError(f"{file}, line {number}: {path} does not exist")
        samples.append((path, (label,)))
    return samples


def _with_class_names(images: dict[str, LabelledPaths]) -> dict[str, LabelledPaths]:
    """Replace integer labels by folder names where numbers and folders match one to one.

    `./food/apple/1.jpg 0` then means class "apple". Otherwise the labels stay as they are written,
    numbers padded with zeros so that they sort as numbers.
    """
    everything = [item for samples in images.values() for item in samples]
    labels = class_names(everything)
    if not all(label.isdecimal() for label in labels):
        return images
    pairs = {(label, path.parent.name) for path, (label,) in everything}
    if len(pairs) == len(labels) == len({folder for _, folder in pairs}):
        names = dict(pairs)
    else:
        width = max(len(label) for label in labels)
        names = {label: label.zfill(width) for label in labels}
    return {
        split: [(path, (names[label],)) for path, (label,) in items]
        for split, items in images.items()
    }


def _assemble(
    root: Path, images: dict[str, LabelledPaths], split_by: str, *, task: Task = "single-label"
) -> Dataset:
    train, val = images.get("train", []), images.get("val", [])
    test = images.get("test", [])
    classes = tuple(sorted(class_names(train)))
    if not train:
        raise _unfit(root, "no images found")
    if len(classes) < 2:
        raise _unfit(root, f"only one class, '{classes[0]}'; a classifier needs two or more")
    if not val:
        train, val = carve(train, root)
        split_by += "; one in eight training images became the validation split"
    _require_known(root, classes, {"val": val, "test": test})
    indices = {name: index for index, name in enumerate(classes)}

    def samples(items: LabelledPaths) -> tuple[Sample, ...]:
        labels = [tuple(sorted(indices[name] for name in names)) for _, names in items]
        if task == "multi-label":
            return tuple(
                Sample(path, label) for (path, _), label in zip(items, labels, strict=True)
            )
        return tuple(Sample(path, label) for (path, _), (label,) in zip(items, labels, strict=True))

    return Dataset(root, classes, samples(train), samples(val), samples(test), split_by, task)


def _unfit(root: Path, found: str) -> DataError:
    """Return the error for a folder without classes; a CSV in it suggests multi-label."""
    if tables := ", ".join(table.name for table in find_tables(root)):
        return DataError(f"{root}: {found}, beside {tables}", hint="--task multi-label")
    return DataError(f"{root}: {found}", hint=f"expected {LAYOUTS}")


def _require_known(root: Path, classes: tuple[str, ...], others: dict[str, LabelledPaths]) -> None:
    for split, items in others.items():
        if unknown := sorted(class_names(items) - set(classes)):
            raise DataError(
                f"{root}: {split} has classes that train lacks: {', '.join(unknown)}",
                hint="class folders are matched by name; rename or move them",
            )
