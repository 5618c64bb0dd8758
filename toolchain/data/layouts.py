"""From a path to labelled samples: the layouts of folders and lists that rtl understands.

1. `DATA/train/CLASS/*.jpg`, `DATA/val/CLASS/*.jpg`, optionally `DATA/test/CLASS/*.jpg`
2. `DATA/CLASS/*.jpg`, split 7:1:2 by a stable hash
3. `DATA/train.txt`, `DATA/val.txt` and/or `DATA/test.txt`, each line `path label`

Classes are matched by name, never by position: a class missing from `val/` shifts nothing.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from toolchain.data.splits import carve, split_class
from toolchain.errors import DataError

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".jp2",
        ".avif",
        ".mpo",
    ]
)
# Folder and list names that people use for each split.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
LAYOUTS = "train/ and val/ with a folder for each class; or a folder for each class; or train.txt"


@dataclass(frozen=True)
class Sample:
    """One labelled image; `label` is an index into the data set's classes."""

    path: Path
    label: int


@dataclass(frozen=True)
class Dataset:
    """Labelled images in splits. `train` and `val` are never empty; `test` may be."""

    root: Path
    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    split_by: str
    """One sentence about where the splits come from."""

    def split(self, name: str) -> tuple[Sample, ...]:
        """Give the samples of `train`, `val` or `test`."""
        return {"train": self.train, "val": self.val, "test": self.test}[name]

    def name_of(self, path: Path) -> str:
        """Give a path as the data set's own name for it, with forward slashes."""
        try:
            return path.relative_to(self.root).as_posix()
        except ValueError:
            return path.as_posix()


# While reading, samples carry class names; they become indices when all names are known.
Named = list[tuple[Path, str]]


def read_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Find the images under a path and their labels.

    Nothing is decoded or written. Raises DataError for a path that no layout fits, for fewer than
    two classes, and for a class of `val` or `test` that `train` lacks.
    """
    root = Path(path)
    if not root.exists():
        raise DataError(f"{root}: no such folder", hint=f"DATA is a folder with {LAYOUTS}")
    if root.is_file():
        lists = _splits_among(
            f for f in root.parent.iterdir() if f.is_file() and f.suffix == ".txt"
        )
        return _from_lists(lists if root in lists.values() else {"train": root}, root.parent)
    folders = _splits_among(d for d in root.iterdir() if d.is_dir())
    lists = _splits_among(f for f in root.iterdir() if f.is_file() and f.suffix == ".txt")
    if "train" in folders:
        return _from_split_folders(folders, root)
    if "train" in lists:
        return _from_lists(lists, root)
    if folders:
        names = ", ".join(f"{folder.name}/" for folder in folders.values())
        raise DataError(f"{root} has {names} and no train/", hint=f"expected {LAYOUTS}")
    return _from_one_folder(root)


def _splits_among(paths: Iterable[Path]) -> dict[str, Path]:
    """Give the paths that are named for a split, in small or capital letters, in split order."""
    by_name = {path.stem.lower(): path for path in sorted(paths, reverse=True)}
    return {
        split: by_name[name]
        for split, names in SPLIT_NAMES.items()
        for name in reversed(names)
        if name in by_name
    }


def _from_split_folders(folders: dict[str, Path], root: Path) -> Dataset:
    named = {split: _class_folders(folder) for split, folder in folders.items()}
    return _assemble(
        root, named, "the folders " + ", ".join(f"{f.name}/" for f in folders.values())
    )


def _from_one_folder(root: Path) -> Dataset:
    named: dict[str, Named] = {"train": [], "val": [], "test": []}
    by_class: dict[str, list[Path]] = defaultdict(list)
    for path, name in _class_folders(root):
        by_class[name].append(path)
    for name, paths in by_class.items():
        splits = split_class([path.relative_to(root).as_posix() for path in paths])
        for path, split in zip(paths, splits, strict=True):
            named[split].append((path, name))
    return _assemble(root, named, "7:1:2 by a stable hash of each file's name")


def _class_folders(root: Path) -> Named:
    """Give (path, class) of the images in each class folder, deeper folders included."""
    classes = sorted(d for d in root.iterdir() if d.is_dir() and not d.name.startswith("."))
    return [(path, folder.name) for folder in classes for path in images_under(folder)]


def images_under(folder: Path) -> list[Path]:
    """Give the image files under a folder, sorted; hidden files and folders are passed over."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return sorted(found)


def _from_lists(lists: dict[str, Path], root: Path) -> Dataset:
    named = {split: _read_list(file) for split, file in lists.items()}
    return _assemble(
        root, _with_class_names(named), "the lists " + ", ".join(f.name for f in lists.values())
    )


def _read_list(file: Path) -> Named:
    """Read lines `path label`; a path may hold spaces and is relative to the list's folder."""
    samples: Named = []
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
        samples.append((path, label))
    return samples


def _with_class_names(named: dict[str, Named]) -> dict[str, Named]:
    """Turn integer labels into folder names where each number has just one folder, and vice versa.

    `./food/apple/1.jpg 0` then means class "apple". Otherwise the labels stay as they are written,
    numbers padded so that they sort as numbers.
    """
    everything = [item for samples in named.values() for item in samples]
    labels = {label for _, label in everything}
    if not all(label.isdecimal() for label in labels):
        return named
    pairs = {(label, path.parent.name) for path, label in everything}
    if len(pairs) == len(labels) == len({folder for _, folder in pairs}):
        names = dict(pairs)
    else:
        width = max(len(label) for label in labels)
        names = {label: label.zfill(width) for label in labels}
    return {split: [(p, names[label]) for p, label in items] for split, items in named.items()}


def _assemble(root: Path, named: dict[str, Named], split_by: str) -> Dataset:
    train, val = named.get("train", []), named.get("val", [])
    test = named.get("test", [])
    classes = tuple(sorted({name for _, name in train}))
    if not train:
        raise DataError(f"{root}: no images found", hint=f"expected {LAYOUTS}")
    if len(classes) < 2:
        raise DataError(
            f"{root}: only one class, '{classes[0]}'; a classifier needs two or more",
            hint=f"expected {LAYOUTS}",
        )
    if not val:
        train, val = carve(train, root)
        split_by += "; one in eight training images became the validation split"
    _require_known(root, classes, {"val": val, "test": test})
    indices = {name: index for index, name in enumerate(classes)}

    def samples(items: Iterable[tuple[Path, str]]) -> tuple[Sample, ...]:
        return tuple(Sample(path, indices[name]) for path, name in items)

    return Dataset(root, classes, samples(train), samples(val), samples(test), split_by)


def _require_known(root: Path, classes: tuple[str, ...], others: dict[str, Named]) -> None:
    for split, items in others.items():
        if unknown := sorted({name for _, name in items} - set(classes)):
            raise DataError(
                f"{root}: {split} has classes that train lacks: {', '.join(unknown)}",
                hint="class folders are matched by name; rename or move them",
            )
