"""The training images that a target is compared with: stored features, or a folder of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolchain.adaptation.original import Original
from toolchain.adaptation.source_features import (
    HINT,
    MOST_SOURCE_IMAGES,
    SourceFeatures,
    features_file,
    read_source_features,
)
from toolchain.data.class_names import class_name
from toolchain.data.folders import FolderTree, images_of_classes
from toolchain.data.left_out import Account
from toolchain.errors import DataError, ImageError
from toolchain.files import A_URL, DOWNLOAD, as_url
from toolchain.progress import ProgressReporter
from toolchain.runs.sampling import evenly

LEAST_PER_CLASS = 5


def source_of(original: Original, folder: str | None, progress: ProgressReporter) -> SourceFeatures:
    """Return the features of images that the model was trained on, of every class.

    They are computed from `folder`, or read from the file beside the model. Raises DataError where
    there is neither, or a class has fewer than LEAST_PER_CLASS, and ModelFileError for a file that
    can't be read.
    """
    classes = original.card.classes
    if folder is not None:
        found, place = _computed(original, folder, progress), Path(folder)
    else:
        place = features_file(original.path)
        if not place.is_file():
            raise DataError(
                f"{place}: no such file; what the training images look like is not known", hint=HINT
            )
        found = read_source_features(place, original.weight.shape[1], len(classes))
    counts = np.bincount(found.labels, minlength=len(classes))
    if (counts < LEAST_PER_CLASS).any():
        rare = int(counts.argmin())
        raise DataError(
            f"{place} has {counts[rare]} images of '{classes[rare]}'; "
            f"at least {LEAST_PER_CLASS} of each class are needed"
        )
    return found


def _computed(original: Original, folder: str, progress: ProgressReporter) -> SourceFeatures:
    label_of = _labelled(folder, original.card.classes)
    paths = evenly(list(label_of), MOST_SOURCE_IMAGES)
    features = list(original.graph.of_files(paths, "features", progress))
    good = [
        (one, label_of[path])
        for path, one in zip(paths, features, strict=True)
        if not isinstance(one, ImageError)
    ]
    return SourceFeatures(
        np.array([one for one, _ in good], np.float32),
        np.array([label for _, label in good], np.int64),
    )


def _labelled(folder: str, classes: tuple[str, ...]) -> dict[Path, int]:
    """Return image → class of a folder with a folder for each class, or of its `train/`."""
    root = Path(folder)
    if url := as_url(root):
        raise DataError(f"{url}: {A_URL}", hint=DOWNLOAD)
    if not root.is_dir():
        raise DataError(f"{root}: " + ("is no folder" if root.exists() else "no such folder"))
    known = {class_name(name): label for label, name in enumerate(classes)}
    tree, account = FolderTree(root), Account(root)
    are_classes = all(class_name(one.name) in known for one in tree.folders)
    splits = {} if are_classes else tree.splits
    images = (
        tree.images_of_splits(account)["train"]
        if "train" in splits
        else images_of_classes(root, account)
    )
    found = {path: known[name] for path, (name,) in images if name in known}
    if not found:
        raise DataError(
            f"{root}: no images in folders of the model's classes",
            hint=f"the model knows {', '.join(classes[:20])}",
        )
    return found
