"""The end of a loss axis: outliers are left out, a curve that falls is not."""

from __future__ import annotations

import math

import pytest

from toolchain.metrics.loss_axis import usual_top


@pytest.mark.parametrize(
    ("losses", "top"),
    [
        ([0.5, 0.4, 0.3, 250.0], 0.5),
        ([120.0, 250.0, 0.5, 0.4], 0.5),  # the first epoch, in training and validation
        ([2.3, 1.1, 0.5, 0.3, 0.1, 0.05, 0.02, 0.01], 2.3),
        ([0.001, 0.001, 0.001, 0.4], 0.4),
        ([math.nan, math.inf, 0.7], 0.7),
        ([], 1.0),
        ([0.0, 0.0], 1.0),
    ],
)
def test_losses_beyond_a_gap_are_left_out(losses: list[float], top: float) -> None:
    assert usual_top(losses) == top
