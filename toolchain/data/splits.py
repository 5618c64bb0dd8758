"""Splits by a hash of each file's name, so that adding images moves no other image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from toolchain.errors import DataError

# The 7:1:2 of article S3 (docs/configs.md): below 0.7 train, below 0.8 val, else test.
TRAIN_SHARE, VAL_SHARE = 0.7, 0.1
BY_HASH = "7:1:2 by a stable hash of each file's name"
# Accepted names of each split: of folders, lists and tables, and in a CSV's column `split`.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}

LabelledPaths = list[tuple[Path, tuple[str, ...]]]
"""Images with the names of their classes, which become indices once all classes are known."""


def named_for_splits(paths: Iterable[Path]) -> dict[str, Path]:
    """Return split → the path that is named for it, in any case, in the order of SPLIT_NAMES."""
    by_name = {path.stem.lower(): path for path in sorted(paths, reverse=True)}
    return {
        split: by_name[name]
        for split, names in SPLIT_NAMES.items()
        for name in reversed(names)
        if name in by_name
    }


def position(name: str) -> float:
    """Return a number in [0, 1) that depends on the name only."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_of(name: str) -> str:
    """Return the split of an image by its path within the data set, written with forward slashes.

    The hash is uniform within each class, so the splits have the classes in equal proportions; and
    since it depends on no other file, adding images moves none of the old ones to another split.
    """
    name_position = position(name)
    if name_position < TRAIN_SHARE:
        return "train"
    return "val" if name_position < TRAIN_SHARE + VAL_SHARE else "test"


def split_class(names: Sequence[str]) -> list[str]:
    """Return the splits of one class's images; with two or more, both train and val get one.

    Where the hash leaves one of them empty, the image whose position is nearest to it is moved.
    """
    splits = [split_of(name) for name in names]
    positions = [position(name) for name in names]
    if "train" not in splits:
        splits[positions.index(min(positions))] = "train"
    if "val" not in splits and len(names) > 1:
        spare = [i for i in range(len(names)) if splits[i] == "test" or splits.count("train") > 1]
        splits[min(spare, key=lambda i: _distance_to_val(positions[i]))] = "val"
    return splits


def split_classes(names: Sequence[str], classes: Sequence[Iterable[str]]) -> tuple[list[str], int]:
    """Return (the splits of images with any number of classes, how many the hash did not decide).

    Each class gets a training image, and a validation image unless moving it would take the last
    training image of some class. As in `split_class`, the image with the nearest position is moved.
    """
    by_hash = [split_of(name) for name in names]
    splits, positions = list(by_hash), [position(name) for name in names]
    images_of: dict[str, list[int]] = {}
    for index, labels in enumerate(classes):
        for name in labels:
            images_of.setdefault(name, []).append(index)
    # Sorted by class name, so that the result does not depend on the order of the rows.
    for _, images in sorted(images_of.items()):
        if all(splits[i] != "train" for i in images):
            splits[min(images, key=lambda i: positions[i])] = "train"
    for _, images in sorted(images_of.items()):
        if all(splits[i] != "val" for i in images):
            spare = [i for i in images if _is_spare(i, splits, classes, images_of)]
            if spare:
                splits[min(spare, key=lambda i: _distance_to_val(positions[i]))] = "val"
    moved = sum(before != after for before, after in zip(by_hash, splits, strict=True))
    return splits, moved


def _is_spare(
    image: int,
    splits: Sequence[str],
    classes: Sequence[Iterable[str]],
    images_of: dict[str, list[int]],
) -> bool:
    """Return whether each class of an image has another training image."""
    return all(
        any(splits[other] == "train" for other in images_of[name] if other != image)
        for name in classes[image]
    )


def _distance_to_val(name_position: float) -> float:
    """Return the distance of a position from the middle of the validation split."""
    return abs(name_position - (TRAIN_SHARE + VAL_SHARE / 2))


def carve(train: LabelledPaths, root: Path) -> tuple[LabelledPaths, LabelledPaths]:
    """Split training images 7:1 into (train, val), where a data set comes without validation."""

    def is_val(path: Path) -> bool:
        name = path.relative_to(root) if path.is_relative_to(root) else path
        return position(name.as_posix()) >= TRAIN_SHARE / (TRAIN_SHARE + VAL_SHARE)

    val = [item for item in train if is_val(item[0])]
    rest = [item for item in train if not is_val(item[0])]
    if not val or class_names(rest) != class_names(train):
        raise DataError(
            f"{root}: {len(train)} training images are too few to set some aside for validation",
            hint="add a val/ folder (or val.txt, val.csv), or more images",
        )
    return rest, val


def class_names(images: LabelledPaths) -> set[str]:
    """Return the names of all classes that some image has."""
    return {name for _, names in images for name in names}
