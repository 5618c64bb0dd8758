"""The labels of images for linear probes: one class each, or for multi-label any number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolchain.data.layouts import Dataset, Sample
from toolchain.metrics.linear_probe import LinearProbe, fit, fit_each_label

Labels = NDArray[np.int64] | NDArray[np.bool_]
"""int64 [images], or for multi-label bool [images, classes]."""


def labels_of(dataset: Dataset, samples: Sequence[Sample]) -> Labels:
    """Return the labels of samples of a data set."""
    if dataset.task == "single-label":
        return np.array([sample.labels[0] for sample in samples], np.int64)
    labels = np.zeros((len(samples), len(dataset.classes)), bool)
    for row, sample in zip(labels, samples, strict=True):
        row[list(sample.labels)] = True
    return labels


def fitted(
    features: NDArray[np.floating], labels: Labels, classes: int, l2: float, scaling: float
) -> LinearProbe:
    """Return a probe of these labels: one classifier, or one for each label."""
    if labels.ndim == 1:
        return fit(features, labels.astype(np.int64), classes, l2, scaling)
    return fit_each_label(features, labels.astype(bool), l2, scaling)


def right(logits: NDArray[np.floating], labels: Labels) -> NDArray[np.bool_]:
    """Return on which images logits are right, bool [images]; multi-label: in all labels."""
    if labels.ndim == 1:
        return np.asarray(logits.argmax(1) == labels)
    return np.asarray(((logits > 0) == labels).all(axis=1))


def rarest_labels(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """Return of each sample the label that the fewest have, int64 [images]; -1 for none.

    Images are spread over folds by it, so that rare labels are in several of them.
    """
    counts: dict[int, int] = {}
    for sample in samples:
        for label in sample.labels:
            counts[label] = counts.get(label, 0) + 1
    return np.array(
        [min(sample.labels, key=lambda label: counts[label], default=-1) for sample in samples],
        np.int64,
    )
