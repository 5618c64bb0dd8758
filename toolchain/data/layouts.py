"""From a path to labelled samples: the layouts of folders, lists and tables that rtl reads.

1. `DATA/train/CLASS/*.jpg`, `DATA/val/CLASS/*.jpg`, optionally `DATA/test/CLASS/*.jpg`;
   `split_names` knows other names of the splits
2. `DATA/CLASS/*.jpg`, split 7:1:2 by a stable hash
3. `DATA/train.txt`, `DATA/val.txt` and/or `DATA/test.txt`, each line `path label`; see `lists`
4. `DATA/labels.csv`, or `DATA/train.csv` beside `val.csv` and `test.csv`: one class an image, or
   for multi-label any number; see `label_table`

Classes are matched by name, never by position: one that `val/` lacks does not shift the others.
Every file that was seen and not used is in `Dataset.left_out`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from toolchain.data.class_names import LabelledPaths, class_names
from toolchain.data.findings import (
    beside_other_split,
    group_notes,
    require_classes,
    require_known,
    require_list,
    split_notes,
)
from toolchain.data.folders import FolderTree, images_of_classes, require_no_splits
from toolchain.data.label_table import find_tables, only_table, read_tables
from toolchain.data.left_out import Account, Kind, LeftOut, Reason, ending_of
from toolchain.data.lists import read_list, with_class_names
from toolchain.data.split_names import SPLITS, named_for_splits
from toolchain.data.splits import USUAL, SplitImages, Splitting, carve, split_images
from toolchain.data.table_columns import TABLES
from toolchain.data.walk import images_under
from toolchain.errors import DataError
from toolchain.files import A_URL, DOWNLOAD, as_url, unicode_name
from toolchain.runtime.card import Task

LAYOUTS = (
    "train/ and val/ with a folder for each class; or a folder for each class; or train.txt; "
    "or labels.csv"
)

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
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)
    """What was seen and not used."""
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What may be a mistake in the names and the splits, a line each."""
    by_hash: bool = field(default=False, compare=False)
    """Whether rtl has split it: it has no splits of its own."""
    val_by_hash: bool = field(default=False, compare=False)
    """Whether rtl has made the validation split, of the whole or of the training images."""
    groups: Mapping[Path, str] = field(default_factory=dict, compare=False)
    """Image → the group that has to stay in one split; empty without groups."""
    excluded: tuple[str, ...] = field(default=(), compare=False)
    """The names of the images that a list has taken out; see `exclusion`."""

    def split(self, name: str) -> tuple[Sample, ...]:
        """Return the samples of `train`, `val` or `test`."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def name_of(self, path: Path) -> str:
        """Return a path relative to `root`, or else unchanged, with forward slashes, as text."""
        try:
            return unicode_name(path.relative_to(self.root).as_posix())
        except ValueError:
            return unicode_name(path.as_posix())


def read_dataset(
    path: str | os.PathLike[str],
    task: Task = "single-label",
    splitting: Splitting = USUAL,
) -> Dataset:
    """Find the images under a path and their labels.

    `splitting` is how a data set without splits of its own is split. Nothing is decoded or written.
    Raises DataError for a path that no layout of the task fits, for fewer than two classes, and for
    a class of `val` or `test` that `train` lacks.
    """
    root = Path(path)
    try:
        return _read(root, task, splitting)
    except OSError as error:  # a folder without access, a name that is too long
        place = error.filename or root
        raise DataError(f"{place}: {(error.strerror or str(error)).lower()}") from error


def _read(root: Path, task: Task, splitting: Splitting) -> Dataset:
    if not root.exists():
        if url := as_url(root):
            raise DataError(f"{url}: {A_URL}", hint=DOWNLOAD)
        expected = TABLES[task] if task == "multi-label" else LAYOUTS
        raise DataError(f"{root}: no such folder", hint=f"DATA is a folder with {expected}")
    found = _Found(root, Account(root if root.is_dir() else root.parent), splitting)
    if task == "multi-label":
        return _from_tables(found)
    return _from_file(found) if root.is_file() else _from_folder(found)


@dataclass
class _Found:
    """What a path was given as, and what is known before the images are sorted into splits."""

    path: Path
    account: Account
    splitting: Splitting
    notes: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The folder that names are relative to."""
        return self.account.root


def _from_tables(found: _Found) -> Dataset:
    path = found.path
    tables = find_tables(path)
    if not (tables or path.is_file() or FolderTree(path).holds_data):
        tables = only_table(path)
    if not tables:
        wrong = "is no CSV" if path.is_file() else "has no labels.csv and no train.csv"
        raise DataError(
            f"{path} {wrong}; multi-label reads its labels from one",
            hint=f"expected {TABLES['multi-label']}",
        )
    return _read_tables(found, tables, "multi-label")


def _read_tables(found: _Found, tables: dict[Path, str | None], task: Task) -> Dataset:
    read, notes = read_tables(tables, found.root, task, found.splitting, found.account)
    if task == "single-label":
        read.images = with_class_names(read.images)
    found.notes += notes
    _account_for_unlisted(found, read.images, set(tables))
    return _assemble(found, read, task=task)


def _from_file(found: _Found) -> Dataset:
    file = found.path
    if tables := find_tables(file):
        return _read_tables(found, tables, "single-label")
    require_list(file, LAYOUTS)
    lists = _lists_in(file.parent)
    return _from_lists(found, lists if file in lists.values() else {"train": file})


def _from_folder(found: _Found) -> Dataset:
    tree = FolderTree(found.root)
    lists = _lists_in(found.root)
    if "train" in tree.splits:
        return _from_split_folders(found, tree)
    if "train" in lists:
        return _from_lists(found, lists)
    are_classes = len(tree.class_folders) > 1 and not tree.splits_read_as_classes
    if not are_classes and (tables := find_tables(found.root) or only_table(found.root)):
        return _read_tables(found, tables, "single-label")
    if tree.splits:
        names = tree.split_names
        raise DataError(f"{found.root} has {names} and no train/", hint=f"expected {LAYOUTS}")
    return _from_one_folder(found, tree)


def _lists_in(folder: Path) -> dict[str, Path]:
    return named_for_splits(f for f in folder.iterdir() if f.is_file() and f.suffix == ".txt")


def _from_split_folders(found: _Found, tree: FolderTree) -> Dataset:
    images = tree.images_of_splits(found.account)
    _require_no_groups(found)
    return _assemble(found, SplitImages(images, f"the folders {tree.split_names}"))


def _from_one_folder(found: _Found, tree: FolderTree) -> Dataset:
    if tree.class_folders:
        require_no_splits(found.root, tree.class_folders)
    if names := tree.splits_read_as_classes:
        found.notes.append(
            f"{', '.join(f'{name}/' for name in names)} hold images and no folders of images, so "
            "they are read as classes; a split holds a folder for each class"
        )
    found.notes += beside_other_split(found.root)
    images = images_of_classes(found.root, found.account)
    _require_no_groups(found)
    return _assemble(found, split_images(images, found.root, found.splitting))


def _from_lists(found: _Found, lists: dict[str, Path]) -> Dataset:
    images = {split: read_list(file, split, found.account) for split, file in lists.items()}
    _account_for_unlisted(found, images, set(lists.values()))
    names = ", ".join(file.name for file in lists.values())
    _require_no_groups(found)
    return _assemble(found, SplitImages(with_class_names(images), f"the lists {names}"))


def _require_no_groups(found: _Found) -> None:
    if column := found.splitting.group_column:
        raise DataError(
            f"{found.path} is no table, so it has no column '{column}' to group images by",
            hint=f"give {TABLES['single-label']}, and a column of groups",
        )


def _account_for_unlisted(
    found: _Found, images: dict[str, LabelledPaths], lists: set[Path]
) -> None:
    """Count the files in a data set's folder that no list names; a list alone may lie anywhere."""
    if not found.path.is_dir():
        return
    account = found.account
    named = {path for items in images.values() for path, _ in items}

    def leave_out(path: Path, kind: Kind, reason: Reason) -> None:
        if path not in lists and not is_named(path):
            account.add(path, kind, reason)

    def is_named(path: Path) -> bool:
        return path in named or os.path.realpath(path) in real_paths()

    @cache
    def real_paths() -> set[str]:
        return {os.path.realpath(path) for path in named}

    for path in images_under(found.path, on_left_out=leave_out):
        if not is_named(path):
            account.add(path, ending_of(path.name), "in no list")


def _assemble(found: _Found, read: SplitImages, *, task: Task = "single-label") -> Dataset:
    root, account = found.path, found.account
    train, val, test = (read.images.get(split, []) for split in SPLITS)
    require_classes(root, class_names(train), account, LAYOUTS)
    split_by = read.split_by
    if val and not read.by_hash and (unused := found.splitting.asked_for):
        found.notes.append(f"{unused}: not used, the data has splits of its own")
    carved = not val
    if carved:
        train, val = carve(train, found.root, found.splitting, read.groups)
        split_by += "; one in eight training images became the validation split"
    classes = tuple(sorted(class_names(train)))
    require_known(root, classes, {"val": val, "test": test})
    indices = {name: index for index, name in enumerate(classes)}

    def samples(items: LabelledPaths) -> tuple[Sample, ...]:
        labels = [tuple(sorted(indices[name] for name in names)) for _, names in items]
        if task == "multi-label":
            return tuple(
                Sample(path, label) for (path, _), label in zip(items, labels, strict=True)
            )
        return tuple(Sample(path, label) for (path, _), (label,) in zip(items, labels, strict=True))

    splits = {"train": train, "val": val, "test": test}
    return Dataset(
        found.root,
        classes,
        samples(train),
        samples(val),
        samples(test),
        split_by,
        task,
        account.entries(),
        (*found.notes, *split_notes(splits, classes), *group_notes(splits, read.groups)),
        read.by_hash,
        read.by_hash or carved,
        read.groups,
    )
