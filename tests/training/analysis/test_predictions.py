"""Findings from the predictions of the best epoch: nothing learnt, mirrored classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.training.analysis.histories import history, names, recorded, settings
from toolchain.training.analysis.diagnosis import Finding, diagnose
from toolchain.training.analysis.mirrored import mirror_pairs
from toolchain.training.analysis.validated import Validated


def validated(confusion: list[list[int]], *classes: str, **given: Any) -> Validated:
    """Return predictions with this confusion matrix [true class, predicted class]."""
    pairs = [(i, j) for i, row in enumerate(confusion) for j, n in enumerate(row) for _ in range(n)]
    one_hot = np.eye(len(confusion), dtype=bool)
    fixed: dict[str, Any] = {"train_counts": (40,) * len(confusion), "steps": 500}
    fixed["train_images"] = sum(given.get("train_counts", fixed["train_counts"]))
    return Validated(
        classes=classes or tuple("abcdefgh"[: len(confusion)]),
        truth=one_hot[[i for i, _ in pairs]],
        predicted=one_hot[[j for _, j in pairs]],
        **{**fixed, **given},
    )


def found(seen: Validated, train_accuracy: float = 0.5, **given: Any) -> list[Finding]:
    losses = [0.69, 0.6, 0.55]
    return diagnose(history(losses, losses, train_accuracy), settings(**given), validated=seen)


def test_one_class_for_all_images_is_nothing_learnt() -> None:
    (finding,) = found(validated([[8, 0, 0], [8, 0, 0], [8, 0, 0]]))
    assert finding.name == "nothing was learnt"
    assert finding.evidence == (
        "all 24 validation images get the same answer, 'a', which is right for 33.3 %"
    )
    assert finding.remedy.startswith("likely reasons: rates that are too low (try --lr-head 0.015")


@pytest.mark.parametrize(
    ("confusion", "learnt"),
    [
        ([[5, 3], [4, 4]], False),
        ([[18, 2], [4, 0]], False),  # 75 %, where one class has 83 %
        ([[6, 2], [1, 7]], True),
        ([[2, 1], [0, 3]], True),  # too few to prove it, and nothing looks wrong
        ([[2, 0], [2, 0]], False),
        ([[1, 0], [1, 0]], True),  # two images show nothing
        ([[9, 0], [0, 0]], True),  # one class in validation: nothing to tell apart
    ],
)
def test_an_accuracy_that_is_not_above_guessing_is_nothing_learnt(
    confusion: list[list[int]], learnt: bool
) -> None:
    assert ("nothing was learnt" in names(found(validated(confusion)))) != learnt


@pytest.mark.parametrize(
    ("seen", "given", "reason"),
    [
        ({"steps": 1}, {"epochs": 1}, "only 1 step of training (try --epochs 25"),
        ({"steps": 3}, {"epochs": 1}, "only 3 steps of training (try --epochs 25"),
        ({"train_counts": (90, 10)}, {}, "90.0 % of training images are of one class (try --class"),
        ({}, {"weights": "none", "strategy": "full"}, "random weights and 80 training images"),
        ({}, {"strategy": "head"}, "frozen layers that do not see the difference (try --strategy"),
    ],
)
def test_the_likely_reasons_fit_the_run(
    seen: dict[str, Any], given: dict[str, Any], reason: str
) -> None:
    (finding,) = found(validated([[8, 0], [8, 0]], **seen), **given)
    assert reason in finding.remedy


def test_a_run_that_knows_its_training_images_is_not_told_to_train_more() -> None:
    (finding,) = found(validated([[8, 0], [8, 0]]), train_accuracy=0.99)
    assert "99.0 % of the training images are right, so the validation images" in finding.remedy
    assert "--lr" not in finding.remedy


def test_the_same_labels_for_every_image_are_nothing_learnt() -> None:
    truth = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], bool)
    seen = Validated(("a", "b"), truth, np.zeros_like(truth), (9, 9), 12, 500, multi_label=True)
    (finding,) = found(seen, task="multi-label", loss="bce", weights="none", strategy="full")
    assert "get the same answer, none of the classes, which is right for 25.0 %" in finding.evidence
    assert "random weights and 12 training images" in finding.remedy


@pytest.mark.parametrize("augment", ["s0", "s1", "s3", "turns", "randaugment", "trivialaugment"])
def test_left_and_right_that_are_confused_are_asked_about(augment: str) -> None:
    seen = validated([[6, 4, 0], [5, 5, 0], [0, 0, 10]], "left_arrow", "right_arrow", "none")
    (finding,) = found(seen, augment=augment)
    assert finding.name == "mirrored classes"
    assert finding.evidence == (
        "'left_arrow' and 'right_arrow' are taken for each other in 9 of 20 images, and "
        f"--augment {augment} mirrors the training images"
    )
    assert finding.remedy == "does a mirrored picture keep its class? If not, try --augment none"


@pytest.mark.parametrize(
    ("confusion", "given"),
    [
        ([[6, 4, 0], [5, 5, 0], [0, 0, 10]], {"augment": "none"}),
        ([[10, 0, 0], [1, 9, 0], [0, 0, 10]], {}),
    ],
)
def test_left_and_right_are_not_asked_about_where_no_flip_hurts(
    confusion: list[list[int]], given: dict[str, Any]
) -> None:
    assert found(validated(confusion, "left", "right", "none"), **given) == []


def test_other_classes_that_are_told_apart_by_a_coin_are_asked_about_too() -> None:
    seen = validated([[6, 5, 0], [5, 6, 0], [0, 0, 11]], "gear", "raeg", "bolt")
    assert names(found(seen)) == ["mirrored classes"]
    spread = validated([[6, 3, 3], [3, 6, 3], [3, 3, 6]])
    assert "mirrored classes" not in names(found(spread))


@pytest.mark.parametrize(
    ("classes", "augment", "pairs"),
    [
        (("LeftHand", "RightHand"), "s3", 1),
        (("handleft", "handright"), "s3", 1),
        (("knee-L", "knee-R"), "s3", 1),
        (("gauche", "droite"), "randaugment", 1),
        (("b", "d", "p", "q"), "s3", 2),
        (("up", "down"), "s3", 0),
        (("up", "down"), "s0", 1),
        (("6", "9"), "turns", 1),
        (("horizontal", "vertical"), "s0", 0),
        (("horizontal", "vertical"), "turns", 1),
        (("left", "right"), "none", 0),
        (("cat", "dog"), "turns", 0),
        (("left knee", "right hip"), "s3", 0),
    ],
)
def test_names_say_which_classes_an_augmentation_exchanges(
    classes: tuple[str, ...], augment: str, pairs: int
) -> None:
    assert len(mirror_pairs(classes, augment)) == pairs


def test_a_sound_run_with_its_predictions_has_no_finding() -> None:
    seen = validated([[35, 3, 2], [2, 37, 1], [2, 1, 37]])
    assert diagnose(recorded("SOUND"), settings(), 3, validated=seen) == []
