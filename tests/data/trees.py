"""Small trees of files for the tests of layouts: names only, the files are no images."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.data.layouts import Dataset, read_dataset
from toolchain.errors import DataError
from toolchain.runtime.card import Task


def put(root: Path, *names: str) -> Path:
    """Create files under a folder."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"not decoded")
    return root


def put_classes(root: Path, *folders: str, count: int = 3) -> Path:
    """Create images in each of the folders."""
    return put(root, *(f"{folder}/{number}.jpg" for folder in folders for number in range(count)))


def left_out(dataset: Dataset) -> dict[tuple[str, str, str], int]:
    """(Place, kind, reason) → how many were left out."""
    return {(e.place, e.kind, e.reason): e.count for e in dataset.left_out}


def files_of(dataset: Dataset, split: str) -> dict[str, str]:
    """File → class, of one split of single-label data."""
    return {dataset.name_of(s.path): dataset.classes[s.labels[0]] for s in dataset.split(split)}


def refusal(path: Path, task: Task = "single-label") -> DataError:
    """Return the error of one line for a path that can't be read as data."""
    with pytest.raises(DataError) as caught:
        read_dataset(path, task)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value
