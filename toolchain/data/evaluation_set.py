"""Labelled images that a model was not trained on: a folder for each class, or one split alone.

Unlike a data set for training it needs no training images and not every class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.data.class_names import class_name
from toolchain.data.folders import FolderTree, images_of_classes
from toolchain.data.layouts import Sample
from toolchain.data.left_out import Account, LeftOut

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
    left_out: tuple[LeftOut, ...]
    """What was seen and not used."""


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
    labels = {class_name(name): label for label, name in enumerate(classes)}
    tree, account = FolderTree(root), Account(root)
    # A class may be called `test`.
    are_classes = all(class_name(folder.name) in labels for folder in tree.folders)
    splits = {} if are_classes else tree.splits
    if "train" in splits or (not splits and any(root.glob("*.txt"))):
        return None
    split = prefer if prefer in splits else next(iter(splits), ALL)
    images = tree.images_of_splits(account)[split] if splits else images_of_classes(root, account)
    samples = tuple(Sample(p, labels[name]) for p, (name,) in images if name in labels)
    unknown = dict.fromkeys(name for _, (name,) in images if name not in labels)
    return EvaluationSet(root, samples, split, tuple(unknown), account.entries())
