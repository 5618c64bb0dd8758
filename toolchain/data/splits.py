"""Splits that stay as they are when images are added: each file's split follows from its name."""

from __future__ import annotations

import hashlib
from pathlib import Path

from toolchain.errors import DataError

# The 7:1:2 of the source material (SOURCES, S3): below 0.7 train, below 0.8 val, else test.
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
