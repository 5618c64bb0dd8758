"""Labelled images that a model was not trained on: a folder for each class, or one split alone.

Unlike a data set for training it needs no training images and not every class.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.data.layouts import Sample
from toolchain.data.splits import named_for_splits
from toolchain.data.walk import images_under, is_image_name

ALL = "all"
"""In place of a split: every image of the folder."""


@dataclass(frozen=True)
class EvaluationSet:
    """Images to evaluate on."""

    root: Path
    samples: tuple[Sample, ...]
    """With labels in the order of the classes that were asked for."""
    split: str
    """`val` or `test` where the folder has only these, else ALL."""
    unknown: tuple[str, ...]
    """Folders with images that are none of the classes."""
    loose: int
    """Images beside the folders of classes, which have no label."""


def read_evaluation_set(
    path: str, classes: Sequence[str], *, prefer: str = "test"
) -> EvaluationSet | None:
    """Return the images of a folder without training images; None for any other layout.

    The folder has a folder for each class, or `val/` or `test/` with these in it; `prefer` says
    which of the two, where both are there. Nothing is decoded.
    """
    root = Path(path)
    if not root.is_dir():
        return None
    folders = [d for d in sorted(root.iterdir()) if d.is_dir() and not d.name.startswith(".")]
    named = {} if _are_classes(folders, classes) else named_for_splits(folders)
    if "train" in named or (not named and any(root.glob("*.txt"))):
        return None
    split = prefer if prefer in named else next(iter(named), ALL)
    top = named.get(split, root)
    samples, unknown = _labelled(top, classes)
    loose = sum(is_image_name(file.name) for file in top.iterdir() if file.is_file())
    return EvaluationSet(root, tuple(samples), split, tuple(unknown), loose)


def _are_classes(folders: Sequence[Path], classes: Sequence[str]) -> bool:
    """Return whether every folder is named after a class: a class may be called `test`."""
    known = {_same_name(name) for name in classes}
    return bool(folders) and all(_same_name(folder.name) in known for folder in folders)


def _labelled(folder: Path, classes: Sequence[str]) -> tuple[list[Sample], list[str]]:
    """Return (the labelled images in class folders, the folders of other names with images)."""
    labels = {_same_name(name): label for label, name in enumerate(classes)}
    samples: list[Sample] = []
    unknown = []
    for inner in sorted(d for d in folder.iterdir() if d.is_dir() and not d.name.startswith(".")):
        label = labels.get(_same_name(inner.name))
        if label is not None:
            samples += [Sample(path, label) for path in images_under(inner)]
        elif next(images_under(inner), None) is not None:
            unknown.append(inner.name)
    return samples, unknown


def _same_name(name: str) -> str:
    """Return a name in one Unicode form: macOS writes `é` as two characters, others as one."""
    return unicodedata.normalize("NFC", name)
