"""Splits that stay as they are when images are added: each file's split follows from its name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from toolchain.errors import DataError

# The 7:1:2 of article S3 (docs/configs.md): below 0.7 train, below 0.8 val, else test.
TRAIN_SHARE, VAL_SHARE = 0.7, 0.1
BY_HASH = "7:1:2 by a stable hash of each file's name"
# Names that people use for each split, of folders, of lists, and in a column of a CSV.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}

# While reading, a sample carries the names of its classes; they become indices when all are known.
Named = list[tuple[Path, tuple[str, ...]]]


def named_for_splits(paths: Iterable[Path]) -> dict[str, Path]:
    """Return the paths that are named for a split, in small or capital letters, in split order."""
    by_name = {path.stem.lower(): path for path in sorted(paths, reverse=True)}
    return {
        split: by_name[name]
        for split, names in SPLIT_NAMES.items()
        for name in reversed(names)
        if name in by_name
    }


def position(name: str) -> float:
    """Return a number in 0…1 that depends on nothing but the name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_of(name: str) -> str:
    """Return the split of an image by its path within the data set, written with forward slashes.

    The hash spreads every class alike, so the classes keep their proportions; and since no other
    file matters, adding images moves none of the old ones to another split.
    """
    place = position(name)
    if place < TRAIN_SHARE:
        return "train"
    return "val" if place < TRAIN_SHARE + VAL_SHARE else "test"


def split_class(names: Sequence[str]) -> list[str]:
    """Return the splits of one class's images; with two or more, both train and val get one.

    A class too small for the hash to have met every split lends the image that lies nearest.
    """
    splits = [split_of(name) for name in names]
    places = [position(name) for name in names]
    if "train" not in splits:
        splits[places.index(min(places))] = "train"
    if "val" not in splits and len(names) > 1:
        spare = [i for i in range(len(names)) if splits[i] == "test" or splits.count("train") > 1]
        splits[min(spare, key=lambda i: _from_val(places[i]))] = "val"
    return splits


def split_classes(names: Sequence[str], classes: Sequence[Iterable[str]]) -> tuple[list[str], int]:
    """Return (the splits of images with any number of classes, how many the hash did not decide).

    Each class keeps a training image, and gets a validation image where that takes no class its
    last training image. As in `split_class`, the image that lies nearest is moved.
    """
    by_hash = [split_of(name) for name in names]
    splits, places = list(by_hash), [position(name) for name in names]
    having: dict[str, list[int]] = {}
    for index, own in enumerate(classes):
        for name in own:
            having.setdefault(name, []).append(index)
    # In the order of the names, so that the rows of a table may stand in any order.
    for _, images in sorted(having.items()):
        if all(splits[i] != "train" for i in images):
            splits[min(images, key=lambda i: places[i])] = "train"
    for _, images in sorted(having.items()):
        if all(splits[i] != "val" for i in images):
            spare = [i for i in images if _is_spare(i, splits, classes, having)]
            if spare:
                splits[min(spare, key=lambda i: _from_val(places[i]))] = "val"
    moved = sum(before != after for before, after in zip(by_hash, splits, strict=True))
    return splits, moved


def _is_spare(
    image: int,
    splits: Sequence[str],
    classes: Sequence[Iterable[str]],
    having: dict[str, list[int]],
) -> bool:
    """Say whether each class of an image has a training image besides it."""
    return all(
        any(splits[other] == "train" for other in having[name] if other != image)
        for name in classes[image]
    )


def _from_val(place: float) -> float:
    """Return how far a place is from the middle of the validation split."""
    return abs(place - (TRAIN_SHARE + VAL_SHARE / 2))


def carve(train: Named, root: Path) -> tuple[Named, Named]:
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


def class_names(named: Named) -> set[str]:
    """Return the names of all classes that some image has."""
    return {name for _, names in named for name in names}
