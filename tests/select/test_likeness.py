"""Likeness to the source data: what the stages' answers show, and which images are measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.data.layouts import Sample
from toolchain.select.likeness import askable, drawn, judge, right_out_of_fold

ALL = np.arange(100)


def right(correct: int) -> NDArray[np.bool_]:
    """Return the answers of a probe that is right on the first `correct` of 100 images."""
    return np.arange(100) < correct


def stages(*correct: int) -> dict[str, NDArray[np.bool_]]:
    return {f"layer{n}": right(count) for n, count in enumerate(correct, 1)}


def test_a_set_whose_last_features_serve_best_is_like_the_source() -> None:
    like, best, reason = judge(stages(60, 70, 80, 95), right(60), ALL)
    assert (like, best) == (True, "layer4")
    assert "35 of 100 images more than random weights" in reason


def test_a_set_that_an_earlier_stage_serves_better_is_unlike() -> None:
    like, best, reason = judge(stages(60, 95, 80, 70), right(60), ALL)
    assert (like, best) == (False, "layer2")
    assert "layer2 is right on 25 images more than layer4" in reason


def test_an_earlier_stage_that_is_better_by_luck_changes_nothing() -> None:
    like, best, _ = judge(stages(60, 70, 92, 90), right(60), ALL)
    assert (like, best) == (True, "layer4")


def test_a_set_that_random_weights_serve_as_well_is_unlike() -> None:
    like, _, reason = judge(stages(60, 70, 70, 70), right(70), ALL)
    assert not like
    assert "no better than random weights" in reason


def test_a_lead_over_random_weights_that_may_be_luck_is_said_to_be_so() -> None:
    like, _, reason = judge(stages(60, 70, 70, 72), right(70), ALL)
    assert like
    assert "may be luck (p = 0.50)" in reason


def test_images_of_one_group_alone_are_none_right() -> None:
    features, labels = np.ones((4, 3), np.float32), np.array([0, 0, 1, 1])
    assert not right_out_of_fold(features, labels, 2, np.zeros(4, np.int64), 0.1).any()


def test_an_image_whose_class_no_other_fold_has_can_not_be_asked_about() -> None:
    labels, fold_of = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 0, 1, 1])
    assert askable(labels, fold_of).tolist() == [True, True, False, False, False]


def test_measured_images_keep_the_proportions_of_the_classes() -> None:
    samples = [Sample(Path(f"{n}.jpg"), int(n >= 900)) for n in range(1000)]
    few = drawn(samples, 100, seed=0)
    assert len(few) == 100
    assert abs(sum(sample.labels[0] for sample in few) - 10) <= 1
    assert drawn(samples, 1000, seed=0) == tuple(samples)
