"""The arithmetic on curves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.training.analysis.histories import history, settings
from toolchain.training.analysis.curves import (
    EPOCHS_FOR_WIDTH_5,
    first_step_losses,
    is_finite,
    loss_of_guessing,
    median_filtered,
    noise_deviation,
)


@pytest.mark.parametrize(
    ("outliers", "epochs"), [(1, EPOCHS_FOR_WIDTH_5 - 1), (2, EPOCHS_FOR_WIDTH_5)]
)
def test_the_median_filter_removes_outliers_and_keeps_whole_rows(
    outliers: int, epochs: int
) -> None:
    losses = [1.0 - 0.01 * epoch for epoch in range(epochs)]
    for epoch in range(4, 4 + outliers):
        losses[epoch] = 9.0
    rows = history(losses, losses)
    filtered = median_filtered(rows, "val_loss")
    assert len(filtered) == epochs
    assert all(row in rows for row in filtered)
    assert max(row["val_loss"] for row in filtered) < 9.0


def test_the_ends_of_a_filtered_curve_use_the_outermost_window() -> None:
    losses = [5.0, 4.0, 3.0, 2.0, 1.0]
    filtered = median_filtered(history(losses, losses), "val_loss")
    assert [row["epoch"] for row in filtered] == [2, 2, 3, 4, 4]


def test_the_deviation_of_noise_is_estimated_on_a_bent_curve_with_outliers() -> None:
    rng = np.random.default_rng(0)
    curve = np.geomspace(2.0, 0.2, 2000) + rng.normal(0, 0.03, 2000)
    curve[::50] += 5.0
    assert noise_deviation(curve.tolist()) == pytest.approx(0.03, rel=0.1)


def test_the_loss_of_guessing_depends_on_task_and_classes() -> None:
    assert loss_of_guessing(settings(), 10) == pytest.approx(math.log(10))
    assert loss_of_guessing(settings(task="multi-label"), 10) == pytest.approx(math.log(2))
    assert loss_of_guessing(settings(), None) is None
    assert loss_of_guessing(settings(), 1) is None


def test_first_step_losses_are_those_recorded() -> None:
    assert first_step_losses(history([1.0], [1.0], start=[1.2, 1.1])) == [1.2, 1.1]
    assert first_step_losses(history([1.0], [1.0])) == first_step_losses([]) == []


@pytest.mark.parametrize(
    ("value", "finite"), [(0.0, True), (None, False), (math.nan, False), (math.inf, False)]
)
def test_a_missing_loss_is_not_finite(value: float | None, finite: bool) -> None:
    assert is_finite(value) is finite
