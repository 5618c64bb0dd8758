"""A prediction: label, labels, threshold and rejection."""

from __future__ import annotations

import numpy as np
import pytest

from toolchain.runtime.prediction import Prediction

ALL = ("owl", "cat", "dog")


@pytest.mark.parametrize(
    ("threshold", "rejected"), [(None, False), (0.5, False), (0.75, False), (0.8, True)]
)
def test_prediction_below_the_threshold_is_marked(threshold: float | None, rejected: bool) -> None:
    probabilities = np.array([0.25, 0.75], dtype=np.float32)
    prediction = Prediction(("cat", "dog"), probabilities, np.log(probabilities), threshold)
    assert prediction.label == "dog"
    assert prediction.rejected is rejected


def test_one_label_is_all_labels_of_a_single_label_prediction() -> None:
    probabilities = np.array([0.4, 0.6], dtype=np.float32)
    prediction = Prediction(("cat", "dog"), probabilities, np.log(probabilities), 0.7)
    assert prediction.labels == ("dog",)
    assert prediction.predicted == prediction.top(1)


def several(*logits: float, threshold: float | None = None) -> Prediction:
    """Return a multi-label prediction of cat, dog and owl."""
    array = np.array(logits, dtype=np.float32)
    classes = ("cat", "dog", "owl")
    probabilities = np.asarray(1 / (1 + np.exp(-array)), np.float32)
    return Prediction(classes, probabilities, array, threshold, "multi-label")


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [(None, ("owl", "cat")), (0.5, ("owl", "cat")), (0.8, ("owl",)), (0.9, ()), (0, ALL)],
)
def test_labels_are_those_that_reach_the_threshold_most_probable_first(
    threshold: float | None, labels: tuple[str, ...]
) -> None:
    prediction = several(1.0, -1.0, 2.0, threshold=threshold)
    assert prediction.labels == labels
    assert [entry.label for entry in prediction.predicted] == list(labels)
    assert str(labels) in repr(prediction)


def test_a_probability_of_exactly_the_threshold_counts() -> None:
    assert several(0.0, -1e-3, 1e-3).labels == ("owl", "cat")
    seven = np.array([0.7, 0.1], dtype=np.float32)  # in float32 a little less than 0.7
    assert Prediction(("a", "b"), seven, seven, 0.7, "multi-label").labels == ("a",)


def test_without_labels_the_most_probable_class_is_still_named() -> None:
    prediction = several(-3.0, -1.0, -2.0, threshold=0.6)
    assert prediction.labels == ()
    assert prediction.rejected is False
    assert (prediction.label, prediction.top(2)[1].label) == ("dog", "owl")
