"""Planted label errors are ranked first, and the confident joint is that of cleanlab."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from toolchain.checking.label_scores import confident_class, score_labels


def planted(seed: int, wrong: int = 10) -> tuple[NDArray[np.float64], NDArray[np.int64], set[int]]:
    """Return features of three overlapping classes, their labels, and which labels are wrong."""
    rng = np.random.default_rng(seed)
    truth = np.arange(200) % 3
    centres = rng.normal(0, 1.2, (3, 20))
    features = centres[truth] + rng.normal(0, 1.3, (200, 20))
    bad = rng.choice(200, wrong, replace=False)
    labels = truth.copy()
    labels[bad] = (truth[bad] + rng.integers(1, 3, wrong)) % 3
    return features, labels, set(bad.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_wrong_labels_are_the_least_probable_and_about_as_many_are_estimated(seed: int) -> None:
    features, labels, bad = planted(seed)
    scores = score_labels(features, labels, 3)
    assert len(bad & set(scores.order[:20].tolist())) >= 9
    estimated = int(scores.joint.sum() - np.trace(scores.joint))
    assert 6 <= estimated <= 25
    assert scores.joint.shape == (3, 3)


def test_labels_that_are_right_are_not_suspected() -> None:
    features, labels, _ = planted(5, wrong=0)
    far = features + 4 * np.eye(3)[labels] @ np.ones((3, 20)) * (labels[:, None] - 1)
    scores = score_labels(far, labels, 3)
    assert (scores.probabilities.argmax(axis=1) == labels).mean() > 0.97
    assert scores.joint.sum() - np.trace(scores.joint) <= 3


def test_neighbours_are_the_nearest_others() -> None:
    features, labels, _ = planted(1)
    features[7] = features[3] + 1e-6
    scores = score_labels(features, labels, 3)
    assert (scores.neighbours[3, 0], scores.neighbours[7, 0]) == (7, 3)
    assert (scores.neighbours != np.arange(200)[:, None]).all()


def test_a_class_of_one_image_has_scores() -> None:
    features, labels, _ = planted(2)
    labels[0] = 3
    scores = score_labels(features, labels, 4)
    assert np.isfinite(scores.probabilities).all()


def test_the_joint_and_the_ranking_are_those_of_cleanlab() -> None:
    count = pytest.importorskip("cleanlab.count", reason="cleanlab is not installed")
    rank = pytest.importorskip("cleanlab.rank")
    for seed in range(5):
        features, labels, _ = planted(seed)
        scores = score_labels(features, labels, 3)
        joint = count.compute_confident_joint(labels, scores.probabilities, calibrate=False)
        assert (scores.joint == joint).all()
        own = rank.get_self_confidence_for_each_label(labels, scores.probabilities)
        assert (np.diff(own[scores.order]) >= 0).all()


def test_an_image_below_every_usual_probability_counts_for_no_class() -> None:
    probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.3, 0.7]])
    labels = np.array([0, 0, 1, 1])
    # The usual ones are 0.7 and 0.75.
    assert confident_class(probabilities, labels).tolist() == [0, -1, 1, -1]
