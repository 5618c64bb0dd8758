"""No fold is trained unless its candidate could still be shown to be better in the time left."""

from __future__ import annotations

import numpy as np
import pytest

from tests.select.test_rounds import trial
from toolchain.metrics.mcnemar import mcnemar_p
from toolchain.select.clock import EpochsTooSlow, OutOfTime
from toolchain.select.fold_time import (
    FINAL_EPOCHS_SHARE,
    fold_seconds_left,
    folds_to_win,
    without_dearer,
)
from toolchain.select.rounds import Right, Trial, run_rounds

FOLDS = range(5)


def known(*errors: int) -> Trial:
    """Return a trial that is wrong on so many of the 30 images of each fold."""
    found = trial("known", 0.0)
    found.right = {fold: np.arange(30) >= count for fold, count in enumerate(errors)}
    return found


def begun(name: str, *seconds: float) -> Trial:
    """Return a trial whose first folds took so long."""
    found = trial(name, 1.0)
    found.seconds = dict(enumerate(seconds))
    return found


@pytest.mark.parametrize(
    ("errors", "folds"),
    [((6, 0, 0, 0, 0), 1), ((5, 1, 0, 0, 0), 2), ((2, 2, 2, 2, 2), 3), ((0, 0, 1, 0, 1), 5)],
)
def test_so_many_folds_have_errors_enough_to_show_a_difference(
    errors: tuple[int, ...], folds: int
) -> None:
    assert folds_to_win(known(*errors), FOLDS) == folds
    # With a fold less nothing shows, were the other right on every image.
    assert mcnemar_p(0, sum(errors[: folds - 1])) > 0.05


def test_a_first_fold_leaves_time_for_those_that_it_needs_and_for_the_last_training() -> None:
    seconds = fold_seconds_left(trial("new", 1.0), [known(2, 2, 2, 2, 2)], 3, 88.0)
    assert seconds * (3 + FINAL_EPOCHS_SHARE) == pytest.approx(88.0)


def test_candidates_that_have_begun_keep_the_time_of_their_folds() -> None:
    others = [begun("first", 10.0), begun("second", 5.0, 6.0, 5.0)]
    alone = fold_seconds_left(trial("new", 1.0), [], 3, 100.0)
    beside = fold_seconds_left(trial("new", 1.0), others, 3, 100.0)
    assert alone - beside == pytest.approx(2 * 10.0 / (3 + FINAL_EPOCHS_SHARE))
    others[0].dropped = object()  # type: ignore[assignment]
    assert fold_seconds_left(trial("new", 1.0), others, 3, 100.0) == pytest.approx(alone)


def test_a_next_fold_leaves_time_for_the_dearest_to_be_trained_in_the_end() -> None:
    cheap, dear = begun("cheap", 4.0), begun("dear", 20.0, 20.0, 20.0)
    seconds = fold_seconds_left(cheap, [cheap, dear], 3, 60.0)
    assert seconds == pytest.approx(60.0 - FINAL_EPOCHS_SHARE * 20.0 - 1 * 4.0)
    # What has all folds that it needs takes what is over.
    assert fold_seconds_left(dear, [cheap, dear], 3, 60.0) == pytest.approx(60.0 - 8.0 - 28.0)


@pytest.mark.parametrize(
    ("raised", "begun"), [(EpochsTooSlow, ["slow"]), (OutOfTime, ["slow", "dear"])]
)
def test_nothing_is_begun_for_what_is_dearer_than_epochs_that_are_too_slow(
    raised: type[OutOfTime], begun: list[str]
) -> None:
    asked: list[str] = []

    def train(one: Trial, fold: int) -> Right:
        asked.append(one.name)
        raise raised

    trials = [known(2, 2, 2, 2, 2), trial("slow", 1.0), trial("dear", 2.0)]
    found = run_rounds(trials, FOLDS, without_dearer(train))
    assert asked == begun
    assert found is not None
    assert [(row.name, row.verdict) for row in found.rows] == [
        ("known", "chosen"),
        ("slow", "not tried"),
        ("dear", "not tried"),
    ]
    assert found.ended == "the rest did not fit into the time"
