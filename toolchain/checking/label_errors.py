"""Labels that the features of a backbone contradict. Nothing is trained but a linear classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from toolchain.checking.backbone import Backbone
from toolchain.data.label_suspects import LabelErrors, Suspect
from toolchain.data.layouts import Dataset
from toolchain.data.split_names import SPLITS
from toolchain.progress import ProgressReporter

if TYPE_CHECKING:
    from toolchain.checking.label_scores import LabelScores

LISTED_SHARE = 0.1
"""At least this share of the images is listed, the least probable labels first."""


def find_label_errors(
    dataset: Dataset, backbone: Backbone, device: str, progress: ProgressReporter
) -> LabelErrors:
    """Return the labels of a single-label data set of readable images that may be wrong.

    An image that is alone in its class is not judged: no other teaches what the class looks like.
    """
    # Imported here: these load torch, and a check of the files needs none.
    from toolchain.checking.label_scores import score_labels
    from toolchain.checking.pooled_features import pooled_features
    from toolchain.networks.device import choose_device

    every = [(split, sample) for split in SPLITS for sample in dataset.split(split)]
    judged = _judged_images(dataset)
    placed = [every[index] for index in judged.tolist()]
    samples = [sample for _, sample in placed]
    features = pooled_features(dataset, backbone, choose_device(device), progress)[judged]
    labels = np.array([sample.labels[0] for sample in samples])
    scores = score_labels(features, labels, len(dataset.classes))
    names = [dataset.name_of(sample.path) for sample in samples]
    suspects = [
        _suspect(index, scores, labels, dataset.classes, names, placed[index][0])
        for index in scores.order.tolist()
    ]
    least = int(np.ceil(LISTED_SHARE * len(samples)))
    return LabelErrors(
        weights=backbone.origin,
        images=len(samples),
        not_judged=len(every) - len(samples),
        accuracy=round(float((scores.probabilities.argmax(axis=1) == labels).mean()), 6),
        estimated=int(scores.joint.sum() - np.trace(scores.joint)),
        joint=_joint(scores, dataset.classes),
        suspects=tuple(s for rank, s in enumerate(suspects) if rank < least or s.contradicted),
    )


def _judged_images(dataset: Dataset) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return which images are not alone in their class: int64 [images], counted over all splits."""
    labels = np.array(
        [sample.labels[0] for split in SPLITS for sample in dataset.split(split)], np.int64
    )
    counts = np.bincount(labels, minlength=len(dataset.classes))
    return np.flatnonzero(counts[labels] > 1)


def _suspect(
    index: int,
    scores: LabelScores,
    labels: np.ndarray[tuple[int], np.dtype[np.int64]],
    classes: tuple[str, ...],
    names: list[str],
    split: str,
) -> Suspect:
    own = scores.probabilities[index]
    label = int(labels[index])
    other = max((k for k in range(len(classes)) if k != label), key=lambda k: float(own[k]))
    return Suspect(
        file=names[index],
        split=split,
        label=classes[label],
        likelier=classes[other],
        label_probability=round(float(own[label]), 6),
        likelier_probability=round(float(own[other]), 6),
        neighbours=tuple(names[near] for near in scores.neighbours[index].tolist()),
    )


def _joint(scores: LabelScores, classes: tuple[str, ...]) -> dict[str, dict[str, int]]:
    found = {
        label: {
            other: int(scores.joint[i, k])
            for k, other in enumerate(classes)
            if k != i and scores.joint[i, k]
        }
        for i, label in enumerate(classes)
    }
    return {label: row for label, row in found.items() if row}
