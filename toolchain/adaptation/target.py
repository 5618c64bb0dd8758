"""The photographs that a model is fitted to: at most as many as were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.data.left_out import LeftOut
from toolchain.data.target import fingerprint_of
from toolchain.data.target import read_target as read_folder
from toolchain.files import file_sha256
from toolchain.runs.sampling import evenly


@dataclass(frozen=True)
class TargetImages:
    """Photographs of another camera."""

    root: Path
    paths: tuple[Path, ...]
    """Sorted; at most as many as were asked for, the labelled ones among them."""
    labels: dict[Path, int]
    """Of the images in labels.csv: the index of the class."""
    found: int
    """Images that the folder has in all."""
    left_out: tuple[LeftOut, ...]
    """What was seen and is no image."""


def read_target(folder: str, classes: Sequence[str], most: int) -> TargetImages:
    """Return the images in a folder and below, at even distances where there are more than `most`.

    Nothing is decoded. Raises DataError as `toolchain.data.target.read_target` does.
    """
    found = read_folder(folder, classes, "--to")
    labels = found.labels
    unlabelled = [path for path in found.paths if path not in labels]
    chosen = evenly(unlabelled, max(0, most - len(labels)))
    paths = tuple(sorted({*chosen, *labels}))
    return TargetImages(found.root, paths, labels, len(found.paths), found.left_out)


def fingerprint(paths: Sequence[Path]) -> str:
    """Return a sha256 over the contents of files, whatever their names and order."""
    return fingerprint_of(file_sha256(path) for path in paths)
