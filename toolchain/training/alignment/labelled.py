"""What a few labelled photographs of the other camera are worth, measured before training.

By linear probes on the pooled features of clean images: seconds beside a training, and often the
larger part of what an alignment gains.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toolchain.data.layouts import Sample
from toolchain.metrics.linear_probe import fit, stratified_folds
from toolchain.networks.resnet import Classifier
from toolchain.networks.split import STAGES
from toolchain.progress import ProgressReporter
from toolchain.runs.alignment import LabelledFigures
from toolchain.training.alignment.images import TargetImages
from toolchain.training.alignment.norms import with_statistics
from toolchain.training.alignment.order import repeats_of
from toolchain.training.features.pooled import pooled_spec, stage_features
from toolchain.training.setup import Setup

FOLDS = 5
Features = NDArray[np.float32]
Labels = NDArray[np.int64]


def measure_labelled(
    setup: Setup, target: TargetImages | None, progress: ProgressReporter
) -> LabelledFigures | None:
    """Return how many labelled photographs are right, each by probes that have not seen it.

    The figures are reported too. None without labelled photographs. The setup has begun its
    alignment: the classifier has the target's statistics.
    """
    if target is None or not target.labelled:
        return None
    source, labelled = setup.dataset.train, target.labelled
    own = {sample.digest for sample in labelled}
    source = tuple(sample for sample in source if sample.digest not in own)
    before, after = setup.classifier, None
    if setup.camera is not None:
        before, after = with_statistics(setup.classifier, setup.camera.source), setup.classifier
    rows = _features(setup, before, [*source, *labelled], progress)
    points, seen = rows[: len(source)], rows[len(source) :]
    truth, labels = _labels(source), _labels(labelled)
    classes = len(setup.dataset.classes)
    alone = fit(points, truth, classes).logits(seen).argmax(axis=1)
    aligned = None
    if after is not None:
        aligned_rows = _features(setup, after, labelled, progress)
        aligned = _right_with(points, truth, aligned_rows, labels, classes)
    figures = LabelledFigures(
        images=len(labelled),
        source_only=int((alone == labels).sum()),
        with_labelled=_right_with(points, truth, seen, labels, classes),
        with_statistics=aligned,
    )
    progress.message(figures.sentence)
    return figures


def _right_with(
    points: Features, truth: Labels, seen: Features, labels: Labels, classes: int
) -> int:
    """Return how many photographs are right when those of the other folds are trained on too."""
    fold_of = stratified_folds(labels, FOLDS)
    right = 0
    for fold in np.unique(fold_of):
        others = np.repeat(np.flatnonzero(fold_of != fold), repeats_of(len(points), len(labels)))
        probe = fit(
            np.concatenate([points, seen[others]]),
            np.concatenate([truth, labels[others]]),
            classes,
        )
        found = probe.logits(seen[fold_of == fold]).argmax(axis=1)
        right += int((found == labels[fold_of == fold]).sum())
    return right


def _features(
    setup: Setup, classifier: Classifier, samples: Sequence[Sample], progress: ProgressReporter
) -> Features:
    """Return the pooled features of clean images, float32 [images, features]."""
    spec = pooled_spec(classifier, setup.dataset, setup.preprocessing, setup.settings, setup.device)
    return stage_features(spec, samples, progress)[STAGES[-1]]


def _labels(samples: Sequence[Sample]) -> Labels:
    return np.array([sample.labels[0] for sample in samples], np.int64)
