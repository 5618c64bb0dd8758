"""Splits that stay as they are when images are added: each file's split follows from its name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from toolchain.errors import DataError

# The 7:1:2 of article S3 (docs/configs.md): below 0.7 train, below 0.8 val, else test.
TRAIN_SHARE, VAL_SHARE = 0.7, 0.1


def position(name: str) -> float:
    """Give a number in 0…1 that depends on nothing but the name."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split_of(name: str) -> str:
    """Give the split of an image by its path within the data set, written with forward slashes.

    The hash spreads every class alike, so the classes keep their proportions; and since no other
    file matters, adding images moves none of the old ones to another split.
    """
    place = position(name)
    if place < TRAIN_SHARE:
        return "train"
    return "val" if place < TRAIN_SHARE + VAL_SHARE else "test"


def split_class(names: Sequence[str]) -> list[str]:
    """Give the splits of one class's images; with two or more, both train and val get one.

    A class too small for the hash to have met every split lends the image that lies nearest.
    """
    splits = [split_of(name) for name in names]
    places = [position(name) for name in names]
    if "train" not in splits:
        splits[places.index(min(places))] = "train"
    if "val" not in splits and len(names) > 1:
        spare = [i for i in range(len(names)) if splits[i] == "test" or splits.count("train") > 1]
        middle = TRAIN_SHARE + VAL_SHARE / 2
        splits[min(spare, key=lambda i: abs(places[i] - middle))] = "val"
    return splits


def carve(
    train: list[tuple[Path, str]], root: Path
) -> tuple[list[tuple[Path, str]], list[tuple[Path, str]]]:
    """Split training images 7:1 into (train, val), where a data set comes without validation."""

    def is_val(path: Path) -> bool:
        name = path.relative_to(root) if path.is_relative_to(root) else path
        return position(name.as_posix()) >= TRAIN_SHARE / (TRAIN_SHARE + VAL_SHARE)

    val = [item for item in train if is_val(item[0])]
    rest = [item for item in train if not is_val(item[0])]
    if not val or {name for _, name in rest} != {name for _, name in train}:
        raise DataError(
            f"{root}: {len(train)} training images are too few to set some aside for validation",
            hint="add a val/ folder, or more images",
        )
    return rest, val
