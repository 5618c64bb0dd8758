"""Learning-rate sweeps: rates, smoothing, when to stop, what to suggest."""

from __future__ import annotations

import math

import numpy as np
import pytest

from toolchain.training.analysis.lr_curve import should_stop, smoothed, suggest_rate, sweep_rates


def sweep_losses(
    rates: list[float], *, learns: float = 1e-4, breaks: float = 1.0, noise: float = 0.0
) -> list[float]:
    """Return losses that are flat up to `learns`, fall by half up to `breaks` and then diverge."""
    depth = math.log(breaks / learns)
    losses = []
    for rate in rates:
        progress = min(max(math.log(rate / learns) / depth, 0.0), 1.0)
        losses.append(2.3 - 1.15 * progress + 5 * max(0.0, math.log10(rate / breaks)) ** 2)
    return list(np.random.default_rng(0).normal(losses, noise))


def test_rates_rise_by_the_same_factor() -> None:
    rates = sweep_rates()
    assert (len(rates), rates[0], rates[-1]) == (100, 1e-7, 10.0)
    factors = np.array(rates[1:]) / np.array(rates[:-1])
    assert factors == pytest.approx(np.full(99, 1e8 ** (1 / 99)))


@pytest.mark.parametrize(("lowest", "highest", "steps"), [(0, 1, 9), (1, 1, 9), (0.1, 1, 1)])
def test_an_empty_range_of_rates_is_refused(lowest: float, highest: float, steps: int) -> None:
    with pytest.raises(ValueError, match=f"lowest < highest.*got {lowest:g}, {highest:g} and"):
        sweep_rates(lowest, highest, steps)


def test_smoothing_is_not_pulled_to_zero_at_the_start() -> None:
    assert smoothed([3.0] * 5) == pytest.approx([3.0] * 5)
    assert smoothed([2.0, 1.0], beta=0.5) == pytest.approx([2.0, (2.0 * 0.25 + 1.0 * 0.5) / 0.75])
    assert smoothed([]) == []


def test_smoothing_weights_older_losses_by_powers_of_beta() -> None:
    losses = [1.0, 4.0, 2.0, 8.0]
    weights = 0.9 ** np.arange(3, -1, -1)
    assert smoothed(losses, beta=0.9)[-1] == pytest.approx(np.average(losses, weights=weights))


@pytest.mark.parametrize(
    ("averages", "stops"),
    [
        ([], False),
        ([2.3], False),
        ([2.3, 1.0, 4.0], False),
        ([2.3, 1.0, 4.01], True),
        ([2.3, math.nan], True),
        ([2.3, math.inf], True),
    ],
)
def test_a_sweep_stops_above_four_times_its_best(averages: list[float], stops: bool) -> None:
    assert should_stop(averages) is stops


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize(("learns", "breaks"), [(1e-4, 1.0), (1e-6, 1e-2)])
def test_the_suggestion_lies_within_the_descent(learns: float, breaks: float, noise: float) -> None:
    rates = sweep_rates()
    rate = suggest_rate(rates, sweep_losses(rates, learns=learns, breaks=breaks, noise=noise))
    assert rate in rates
    assert learns < rate < breaks / 3


def test_the_suggestion_moves_with_the_descent() -> None:
    rates = sweep_rates()
    low, high = (
        suggest_rate(rates, sweep_losses(rates, learns=learns, breaks=1e4 * learns))
        for learns in (1e-6, 1e-4)
    )
    assert low
    assert high
    assert 20 < high / low < 200


def test_a_stopped_sweep_has_the_same_suggestion() -> None:
    rates = sweep_rates()
    losses = sweep_losses(rates)
    assert suggest_rate(rates, [*losses[:95], math.nan, 1.0]) == suggest_rate(rates, losses)
    assert suggest_rate(rates, losses[:95]) == suggest_rate(rates, losses)


def test_noise_alone_suggests_nothing() -> None:
    rates = sweep_rates()
    for seed in range(200):
        losses = np.random.default_rng(seed).normal(2.3, 0.2, len(rates))
        assert suggest_rate(rates, losses.tolist()) is None


@pytest.mark.parametrize(
    "losses",
    [[], [2.3] * 100, [math.nan] * 100, [2.3 + 0.01 * i for i in range(100)]],
    ids=["none", "flat", "not numbers", "rising"],
)
def test_curves_without_a_descent_suggest_nothing(losses: list[float]) -> None:
    assert suggest_rate(sweep_rates(), losses) is None


def test_nine_losses_are_too_few_for_a_descent() -> None:
    losses = [2.0 - 0.1 * i for i in range(10)]
    assert suggest_rate(sweep_rates(), losses)
    assert suggest_rate(sweep_rates(), losses[:9]) is None


def test_a_fall_of_one_percent_is_no_descent() -> None:
    assert suggest_rate(sweep_rates(), [2.3 - 0.0003 * i for i in range(100)]) is None


def test_more_losses_than_rates_are_refused() -> None:
    with pytest.raises(ValueError, match="3 losses for 2 rates"):
        suggest_rate([0.1, 1.0], [1.0, 1.0, 1.0])
