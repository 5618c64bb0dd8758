"""A prediction: label, labels, threshold and rejection."""

from __future__ import annotations

import copy
import json
import math
import pickle
from typing import Any

import numpy as np
import pytest

from toolchain.prediction.predictions import predictions_table
from toolchain.prediction.rows import json_row
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


def single(threshold: float | None = None, *, of: float = 0.75) -> Prediction:
    probabilities = np.array([1 - of, of], dtype=np.float32)
    return Prediction(("cat", "dog"), probabilities, np.log(probabilities), threshold)


@pytest.mark.parametrize("prediction", [single(), single(0.9), several(1.0, -1.0, 2.0)])
def test_a_prediction_can_be_written_as_json(prediction: Prediction) -> None:
    for found in (prediction.as_dict(2), vars(prediction)):
        assert json.loads(json.dumps(found)) == found
    assert vars(prediction) == prediction.as_dict()
    assert prediction.as_dict(1)["top"] == [
        {"label": label, "probability": p} for label, p in prediction.top(1)
    ]


def test_the_dictionary_has_the_keys_of_a_row() -> None:
    assert single().as_dict() == {
        "label": "dog",
        "probability": 0.75,
        "top": [{"label": "dog", "probability": 0.75}, {"label": "cat", "probability": 0.25}],
    }
    assert single(0.9).as_dict()["rejected"] is True
    assert several(1.0, -1.0, 2.0).as_dict(0)["labels"] == ["owl", "cat"]
    for prediction in (single(), single(0.9), several(1.0)):
        assert set(json_row("a.jpg", prediction, 1)) == {"file", *prediction.as_dict(1)}


def test_predictions_are_compared_copied_and_pickled_by_their_values() -> None:
    prediction = single(0.5)
    copies = (copy.copy(prediction), copy.deepcopy(prediction))
    for other in (single(0.5), pickle.loads(pickle.dumps(prediction)), *copies):
        assert other == prediction
        assert hash(other) == hash(prediction)
    for other in (single(), single(0.5, of=0.8), several(1.0), "dog"):
        assert other != prediction
    assert len({prediction, single(0.5), single()}) == 2


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("task", ["single-label", "multi-label"])
def test_outputs_that_are_not_finite_have_no_label(value: float, task: Any) -> None:
    logits = np.array([1, value, 2], np.float32)
    prediction = Prediction(ALL, logits, logits, 0.5, task)
    assert not prediction.finite
    with pytest.raises(ValueError, match="not finite numbers, so there is no label"):
        prediction.label  # noqa: B018
    assert prediction.top() == []
    assert "not finite" in repr(prediction)
    row = prediction.as_dict()
    assert row.get("label") is row.get("probability") is None
    assert row["top"] == []
    assert "NaN" not in json.dumps(row, allow_nan=False)
    assert "not finite" in str(predictions_table([("a.jpg", prediction)], 1, task).rows[0])
