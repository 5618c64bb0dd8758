"""The accuracy of every tool, by one rule: from the labels that it gave to the photographs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

SUFFIXES = (".jpg", ".jpeg", ".png")


def photographs_of(folder: Path) -> list[Path]:
    """Return the photographs below a folder, sorted by path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def accuracy(predicted: Mapping[str, str], split: Path) -> float:
    """Return the share of a split's photographs whose label is the folder that they lie in.

    `predicted` has a label for each path relative to the split, with forward slashes. Raises
    ValueError where it lacks a photograph or has others.

    >>> accuracy({}, Path("empty"))
    Traceback (most recent call last):
    ValueError: empty has no photographs
    """
    expected = {path.relative_to(split).as_posix() for path in photographs_of(split)}
    if not expected:
        raise ValueError(f"{split} has no photographs")
    if predicted.keys() != expected:
        missing, others = expected - predicted.keys(), predicted.keys() - expected
        raise ValueError(f"{len(missing)} photographs without a label, {len(others)} unknown ones")
    right = sum(PurePosixPath(name).parts[0] == label for name, label in predicted.items())
    return right / len(expected)
