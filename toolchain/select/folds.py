"""Folds of cross-validation that keep the images of a group, and equal files, together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolchain.data.layouts import Dataset, Sample
from toolchain.select.labels import rarest_labels

FOLDS = 5


def folds_of(
    dataset: Dataset, samples: Sequence[Sample], folds: int = FOLDS, seed: int = 0
) -> NDArray[np.int64]:
    """Return the fold of each sample, int64 [images] in 0…folds - 1.

    There are fewer folds where every class has fewer images than that; see `grouped_folds`.
    """
    labels = rarest_labels(samples)
    groups = [dataset.groups.get(sample.path) or sample.digest for sample in samples]
    most = int(np.bincount(labels + 1).max())
    return grouped_folds(labels, groups, min(folds, max(2, most)), seed)


def grouped_folds(
    labels: NDArray[np.int64], groups: Sequence[str], folds: int, seed: int = 0
) -> NDArray[np.int64]:
    """Return the fold of each image: classes spread evenly, and each group in one fold.

    Groups are dealt out in a random order by `seed`, the large ones first, each to the fold that
    has the fewest images of its classes, then the fewest images.
    """
    units: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        units.setdefault(group or f"image {index}", []).append(index)
    members = list(units.values())
    order = np.random.default_rng(seed).permutation(len(members))
    largest_first = sorted(order.tolist(), key=lambda number: -len(members[number]))
    fold_of = np.empty(len(labels), np.int64)
    of_class: dict[int, NDArray[np.int64]] = {}
    total = np.zeros(folds, np.int64)
    for number in largest_first:
        own = members[number]
        classes = [int(labels[index]) for index in own]
        present = np.zeros(folds, np.int64)
        for label in set(classes):
            present += of_class.setdefault(label, np.zeros(folds, np.int64))
        fold = min(range(folds), key=lambda f: (present[f], total[f]))
        fold_of[own] = fold
        total[fold] += len(own)
        for label in classes:
            of_class[label][fold] += 1
    return fold_of


def out_of_fold_images(fold_of: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return the indices of each fold's images, the folds in order; none of them is empty."""
    return [np.flatnonzero(fold_of == fold) for fold in np.unique(fold_of)]
