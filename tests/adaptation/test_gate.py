"""The gate: what speaks for an adaptation is accepted, all else is refused with its figure."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from toolchain.adaptation.gate import (
    Figures,
    Labelled,
    chi_square_p,
    judge,
    least_images,
    refusal,
)
from toolchain.adaptation.mixture import Matrix

NAMES = ("ant", "bee", "cat")
TRUTH = np.repeat([0, 1, 2], 40)


def logits(seed: int, moved: tuple[float, float, float] = (0, 0, 0)) -> Matrix:
    """Return logits of 120 images, 40 of each class, which are nearly all right."""
    return 3 * np.eye(3)[TRUTH] + np.random.default_rng(seed).normal(0, 0.8, (120, 3)) + moved


def accuracy(of: Matrix) -> float:
    return float((of.argmax(axis=1) == TRUTH).mean())


def test_a_camera_that_favours_a_class_is_accepted_and_the_shift_takes_that_back() -> None:
    target = logits(1, moved=(0, 2.5, 0))
    found = judge(logits(0), TRUTH, target, NAMES, {})
    assert found.refused is None
    assert found.figures.p_same_camera < 1e-6
    assert accuracy(target) < 0.8
    assert accuracy(target + found.shift) > 0.9
    assert found.figures.expected_after - found.figures.expected_before > 0.15


def test_the_camera_of_the_training_images_is_refused() -> None:
    found = judge(logits(0), TRUTH, logits(1), NAMES, {})
    assert found.refused is not None
    assert found.refused.startswith("another mix of the classes explains the photographs as well")


def test_photographs_of_one_class_are_refused() -> None:
    target = np.concatenate([logits(seed)[:40] for seed in (1, 2, 3)])
    found = judge(logits(0), TRUTH, target, NAMES, {})
    assert found.refused is not None


def test_labelled_photographs_are_counted_before_and_after() -> None:
    target = logits(1, moved=(0, 2.5, 0))
    known = {number: int(TRUTH[number]) for number in range(0, 120, 4)}
    found = judge(logits(0), TRUTH, target, NAMES, known).figures.labelled
    assert found is not None
    assert found.images == 30
    assert found.correct_after > found.correct_before
    assert found.p < 0.05


FIGURES = Figures(
    images=120,
    least_images=100,
    p_same_camera=1e-4,
    expected_before=0.8,
    expected_after=0.9,
    expected_gain=0.1,
    expected_gain_low=0.05,
    separation=0.9,
    labels_changed=0.2,
    shares={"a": 0.5, "b": 0.5},
    labelled=None,
)


def labelled(before: int, after: int, p: float) -> Labelled:
    return Labelled(images=20, correct_before=before, correct_after=after, p=p)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"p_same_camera": 0.02}, "p = 0.02, at most 0.01 is needed"),
        ({"expected_gain": 0.012}, "1.2 points of accuracy are expected, at least 2 are needed"),
        ({"expected_gain_low": -0.2}, "may be a loss of 20.0"),
        (
            {"labelled": labelled(15, 13, 0.5)},
            "of 20 labelled photographs 15 are right now, and 13",
        ),
        ({"labelled": labelled(15, 16, 1.0), "p_same_camera": 0.5}, "p = 0.5"),
    ],
)
def test_each_figure_can_refuse(changes: dict[str, object], says: str) -> None:
    found = refusal(msgspec.structs.replace(FIGURES, **changes))
    assert found is not None
    assert says in found


def test_labelled_photographs_that_show_a_gain_decide_alone() -> None:
    assert refusal(FIGURES) is None
    sure = labelled(8, 19, 0.001)
    assert refusal(msgspec.structs.replace(FIGURES, p_same_camera=0.5, labelled=sure)) is None


def test_more_classes_need_more_photographs() -> None:
    assert (least_images(2), least_images(50)) == (100, 250)


def test_the_chi_square_has_the_quantiles_of_its_tables() -> None:
    for degrees, value in ((1, 3.841), (2, 5.991), (3, 7.815), (10, 18.307), (99, 123.225)):
        assert chi_square_p(value, degrees) == pytest.approx(0.05, abs=1e-4)
    assert chi_square_p(0, 3) == pytest.approx(1)
    assert chi_square_p(5000, 2) == 0
