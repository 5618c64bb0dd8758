"""Metrics of the outputs of a split, against values computed by hand or by definition."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from toolchain.metrics.outputs import METRICS, Outputs
from toolchain.metrics.per_class import class_metrics, macro_f1


def single_label(rows: list[list[float]], labels: list[int]) -> Outputs:
    return Outputs(np.array(rows, np.float32), np.array(labels, np.int64))


def multi_label(rows: list[list[float]], labels: list[list[int]]) -> Outputs:
    return Outputs(np.array(rows, np.float32), np.array(labels, bool))


def random_outputs(images: int, classes: int, *, several: bool, seed: int = 0) -> Outputs:
    """Return outputs of a model that is better than chance, with many equal logits."""
    rng = np.random.default_rng(seed)
    labels: Any = rng.integers(classes, size=images)
    truth = labels[:, None] == np.arange(classes)
    if several:
        labels = truth = rng.random((images, classes)) < 0.3
    logits = np.round(rng.normal(size=(images, classes)) + truth, 1)
    return Outputs(logits.astype(np.float32), labels)


def area_by_pairs(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return how often a positive scores above a negative, ties half: the area by definition."""
    pairs = itertools.product(scores[truth], scores[~truth])
    return float(np.mean([(a > b) + (a == b) / 2 for a, b in pairs]))


def test_accuracy_and_confusion_of_single_labels() -> None:
    outputs = single_label([[2, 1, 0], [0, 3, 1], [0, 1, 2], [5, 0, 0]], [0, 1, 2, 1])
    assert not outputs.multi_label
    assert outputs.accuracy == 0.75
    assert outputs.confusion.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert outputs.confusion.dtype == np.int64


def test_a_multi_label_image_is_right_only_with_its_whole_set() -> None:
    outputs = multi_label([[1, -1], [1, 1], [-1, -1], [-1, 1]], [[1, 0], [1, 0], [0, 0], [1, 0]])
    assert outputs.multi_label
    assert outputs.accuracy == 0.5


def test_a_class_with_a_logit_of_zero_is_not_predicted() -> None:
    assert multi_label([[0.0, 1e-6]], [[0, 1]]).accuracy == 1.0


def test_confusion_refuses_several_labels() -> None:
    with pytest.raises(ValueError, match="confusion matrix needs images of one class"):
        _ = multi_label([[1, -1]], [[1, 0]]).confusion


def test_loss_is_the_mean_of_minus_log_probability_in_nats() -> None:
    single = single_label([[0, 0], [math.log(3), 0]], [1, 0])
    assert single.loss == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)
    several = multi_label([[0, math.log(3)]], [[1, 0]])
    assert several.loss == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_macro_f1_is_the_mean_of_the_f1_of_the_classes_that_have_images() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 5)).astype(np.float32)
    outputs = Outputs(logits, rng.integers(4, size=40))  # no image of the fifth class
    assert outputs.confusion[:, 4].any()
    per_class = class_metrics(outputs.truth, outputs.predicted, list("abcde"))
    assert [metrics.images > 0 for metrics in per_class] == [True] * 4 + [False]
    assert outputs.macro_f1 == pytest.approx(np.mean([metrics.f1 for metrics in per_class[:4]]))
    assert outputs.macro_f1 == macro_f1(outputs.truth, outputs.predicted)


def test_macro_f1_of_several_labels() -> None:
    # First class: 1 hit, 1 missed: 2/3. Second: 1 hit, 1 false alarm: 2/3. Third has no image.
    outputs = multi_label([[1, 1, 1], [-1, 1, -1]], [[1, 1, 0], [1, 0, 0]])
    assert outputs.macro_f1 == pytest.approx(2 / 3)


def test_macro_f1_without_any_label_is_zero() -> None:
    assert multi_label([[1, -1]], [[0, 0]]).macro_f1 == 0.0


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("several", [False, True])
def test_auc_is_the_share_of_pairs_in_the_right_order(classes: int, several: bool) -> None:
    outputs = random_outputs(60, classes, several=several)
    logits = outputs.logits.astype(np.float64)
    scores = logits if several else np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = scores.round(12)  # equal probabilities may differ in their last digit
    areas = [area_by_pairs(scores[:, k], outputs.truth[:, k]) for k in range(classes)]
    assert 0.6 < np.mean(areas) < 0.9
    assert outputs.auc == pytest.approx(np.mean(areas), abs=1e-6)


def test_auc_leaves_out_classes_without_positives_or_negatives() -> None:
    full = random_outputs(30, 2, several=True)
    none, every = np.zeros((30, 1), bool), np.ones((30, 1), bool)
    noise = np.random.default_rng(1).normal(size=(30, 2)).astype(np.float32)
    wider = Outputs(np.hstack([full.logits, noise]), np.hstack([full.labels, none, every]))
    assert wider.auc == full.auc


def test_auc_keeps_the_order_of_probabilities_that_float32_rounds_to_1() -> None:
    # In float32 all of these are probability 1 for the first class.
    outputs = single_label([[20, 0], [22, 0], [24, 0], [26, 0]], [1, 1, 0, 0])
    assert outputs.auc == 1.0


@pytest.mark.parametrize(
    "outputs",
    [
        single_label([[1, 0], [2, 0]], [0, 0]),
        multi_label([[1, 0], [2, 0]], [[1, 0], [1, 0]]),
        single_label([[1, 0], [math.nan, 0]], [0, 1]),
    ],
    ids=["one class only", "no negatives or no positives", "not a number"],
)
def test_auc_is_none_where_it_is_undefined(outputs: Outputs) -> None:
    assert outputs.auc is None
    assert outputs.score("auc") == -math.inf


def test_probabilities_are_softmax_or_sigmoid_at_the_temperature() -> None:
    single = single_label([[math.log(9), 0]], [0]).probabilities(2.0)
    assert single.dtype == np.float32
    assert single == pytest.approx(np.array([[0.75, 0.25]]))
    several = multi_label([[math.log(9), 0]], [[1, 0]]).probabilities(2.0)
    assert several.dtype == np.float32
    assert several == pytest.approx(np.array([[0.75, 0.5]]))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_a_better_epoch_scores_higher_in_every_metric(metric: str, several: bool) -> None:
    worse = random_outputs(80, 3, several=several)
    better = Outputs(worse.logits + worse.truth, worse.labels)
    assert better.score(metric) > worse.score(metric)


def test_score_of_a_loss_that_is_not_a_number_is_the_lowest() -> None:
    assert single_label([[math.nan, 0]], [0]).score("loss") == -math.inf


def test_score_names_the_known_metrics() -> None:
    with pytest.raises(ValueError, match=r"'f1'; known are accuracy, macro_f1, auc, loss"):
        single_label([[1, 0]], [0]).score("f1")


def test_the_metrics_of_an_epoch_cost_little() -> None:
    outputs = random_outputs(150, 3, several=False)
    times = []
    for _ in range(20):
        start = time.thread_time()
        for metric in METRICS:
            outputs.score(metric)
        times.append(time.thread_time() - start)
    assert min(times) < 0.003
