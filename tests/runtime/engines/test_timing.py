"""Which of several engines is faster, and whether that is noise."""

from __future__ import annotations

import random
import time

import pytest

from toolchain.runtime.engines import timing
from toolchain.runtime.engines.timing import ROUNDS, Timing, fastest, timings


class Clock:
    """A clock that engines move forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def engine(self, seconds: float, noise: float = 0.0, seed: int = 0) -> timing.Call:
        rng = random.Random(seed)

        def call() -> None:
            self.now += seconds * (1 + noise * rng.random())

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_an_engine_is_timed_beside_the_first(clock: Clock) -> None:
    found = timings({"cpu": clock.engine(0.020), "other": clock.engine(0.010)})
    assert found["cpu"].ratio == pytest.approx(1)
    assert found["other"].ratio == pytest.approx(2)
    assert found["other"].latency_ms == pytest.approx(10)
    assert found["other"].faster == ROUNDS
    assert fastest(found) == "other"


def test_a_call_that_is_short_is_repeated_and_not_for_ever(clock: Clock) -> None:
    started = clock.now
    timings({"cpu": clock.engine(1e-5)})
    assert clock.now - started < ROUNDS * 0.02


@pytest.mark.parametrize("seed", range(20))
def test_noise_leaves_the_first_engine(clock: Clock, seed: int) -> None:
    same = {
        "cpu": clock.engine(0.02, noise=1.0, seed=seed),
        "other": clock.engine(0.02, noise=1.0, seed=seed + 100),
    }
    assert fastest(timings(same)) == "cpu"


@pytest.mark.parametrize("seed", range(5))
def test_an_engine_that_is_a_third_faster_is_found_in_noise(clock: Clock, seed: int) -> None:
    engines = {
        "cpu": clock.engine(0.020, noise=0.2, seed=seed),
        "other": clock.engine(0.015, noise=0.2, seed=seed + 100),
    }
    assert fastest(timings(engines)) == "other"


def test_a_small_gain_is_not_worth_another_engine() -> None:
    first = Timing(20.0, 1.0, 0)
    assert fastest({"cpu": first, "other": Timing(19.4, 1.03, ROUNDS)}) == "cpu"
    assert fastest({"cpu": first, "other": Timing(10.0, 2.0, ROUNDS - 5)}) == "cpu"


def test_of_two_that_are_as_fast_the_earlier_is_taken() -> None:
    first, second = Timing(10.0, 2.0, ROUNDS), Timing(9.9, 2.02, ROUNDS)
    assert fastest({"cpu": Timing(20.0, 1.0, 0), "a": first, "b": second}) == "a"
    third = Timing(5.0, 4.0, ROUNDS)
    assert fastest({"cpu": Timing(20.0, 1.0, 0), "a": first, "b": third}) == "b"
