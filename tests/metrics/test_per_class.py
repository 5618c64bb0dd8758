"""Precision, recall and F1, against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from toolchain.metrics.outputs import Outputs
from toolchain.metrics.per_class import ClassMetrics, Flags, class_metrics, macro_f1


def flags_of(confusion: list[list[int]]) -> tuple[Flags, Flags]:
    """Return (truth, predicted) of images with this confusion matrix [true][predicted]."""
    one_hot = np.eye(len(confusion), dtype=bool)
    cells = np.ndenumerate(np.array(confusion))
    pairs = [(i, j) for (i, j), count in cells for _ in range(count)]
    truth, predicted = zip(*pairs, strict=True)
    return one_hot[list(truth)], one_hot[list(predicted)]


def metrics_of(confusion: list[list[int]]) -> list[ClassMetrics]:
    return class_metrics(*flags_of(confusion), "abcd"[: len(confusion)])


def rates(metrics: ClassMetrics) -> tuple[float, float, float]:
    return metrics.precision, metrics.recall, metrics.f1


def test_metrics_of_each_class_are_those_computed_by_hand() -> None:
    confusion = [[3, 1, 0], [2, 2, 1], [0, 0, 1]]
    a, b, c = metrics_of(confusion)
    assert (a.label, a.images, b.images, c.images) == ("a", 4, 5, 1)
    assert rates(a) == pytest.approx((3 / 5, 3 / 4, 2 / 3))
    assert rates(b) == pytest.approx((2 / 3, 2 / 5, 1 / 2))
    assert rates(c) == pytest.approx((1 / 2, 1, 2 / 3))
    assert macro_f1(*flags_of(confusion)) == pytest.approx(11 / 18)


def test_a_class_that_is_never_right_scores_0() -> None:
    a, b = metrics_of([[4, 0], [3, 0]])
    assert rates(b) == (0, 0, 0)
    assert rates(a) == pytest.approx((4 / 7, 1, 8 / 11))


def test_a_class_without_images_that_is_predicted_scores_0() -> None:
    _, b = metrics_of([[3, 2], [0, 0]])
    assert (b.images, *rates(b)) == (0, 0, 0, 0)


def test_macro_f1_is_the_mean_over_the_classes_that_have_images() -> None:
    flags = flags_of([[4, 0, 0], [0, 1, 1], [0, 0, 0]])
    assert macro_f1(*flags) == pytest.approx((1 + 2 / 3) / 2)


def test_macro_f1_counts_a_rare_class_like_a_frequent_one() -> None:
    assert macro_f1(*flags_of([[98, 0], [2, 0]])) == pytest.approx((2 * 98 / 198) / 2)


def test_images_of_several_classes_count_in_each() -> None:
    truth = np.array([[1, 1], [1, 0], [0, 0]], dtype=bool)
    predicted = np.array([[1, 0], [1, 1], [0, 1]], dtype=bool)
    a, b = class_metrics(truth, predicted, "ab")
    assert (a.images, *rates(a)) == (2, 1, 1, 1)
    assert (b.images, *rates(b)) == (1, 0, 0, 0)


def test_macro_f1_of_images_without_any_class_is_0() -> None:
    nothing = np.zeros((3, 2), dtype=bool)
    assert macro_f1(nothing, ~nothing) == 0


def test_confusion_counts_true_by_row_and_predicted_by_column() -> None:
    # The last class has no images and is never predicted; it keeps its row and column.
    logits = np.eye(4, dtype=np.float32)[[0, 1, 1, 2]]
    outputs = Outputs(logits, np.array([0, 0, 1, 0]))
    assert outputs.confusion.tolist() == [[1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert outputs.accuracy == 0.5


def test_loss_and_probabilities_are_those_of_softmax() -> None:
    outputs = Outputs(np.log(np.array([[0.2, 0.8], [0.5, 0.5]], np.float32)), np.array([0, 1]))
    assert outputs.loss == pytest.approx(-(np.log(0.2) + np.log(0.5)) / 2, rel=1e-5)
    assert outputs.probabilities(1.0)[0] == pytest.approx([0.2, 0.8], rel=1e-5)
    # Temperature 2 takes square roots: 0.2 : 0.8 becomes 1 : 2.
    assert outputs.probabilities(2.0)[0] == pytest.approx([1 / 3, 2 / 3], rel=1e-5)
