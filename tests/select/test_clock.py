"""Work within a time: it ends at its deadline, and long before where it can't be done."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from toolchain.progress import SilentReporter
from toolchain.select.clock import OutOfTime, TimedReporter


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only `steps` moves on."""
    times = [1000.0]
    monkeypatch.setattr("toolchain.select.clock.time.monotonic", lambda: times[0])
    return times


def steps(now: list[float], count: int, seconds: float, first: float = 0.0) -> Iterator[int]:
    for number in range(count):
        now[0] += seconds + (first if number == 0 else 0.0)
        yield number


def done(now: list[float], work: Iterator[int], total: int, limit_s: float) -> int:
    timed = TimedReporter(SilentReporter(), now[0] + limit_s)
    with pytest.raises(OutOfTime):
        list(timed.track(work, "work", total))
    return timed.steps


def test_work_is_given_up_once_it_is_seen_that_it_cant_be_done(now: list[float]) -> None:
    # 1,000 steps of a second in five minutes.
    assert done(now, steps(now, 1000, 1.0), 1000, 300.0) < 100
    assert now[0] < 1000 + 100


def test_work_that_takes_a_little_longer_is_tried_until_the_end(now: list[float]) -> None:
    assert 150 < done(now, steps(now, 220, 1.0), 220, 200.0) <= 200


def in_batches(now: list[float], total: int, limit_s: float) -> TimedReporter:
    """Work on images whose batches of 8 take 4 s each, as long as there is time."""
    timed = TimedReporter(SilentReporter(), now[0] + limit_s)
    with contextlib.suppress(OutOfTime):
        for number in timed.track(range(total), "work", total):
            now[0] += 4.0 if number % 8 == 0 else 0.0
    return timed


def test_a_batch_that_would_overrun_is_not_begun(now: list[float]) -> None:
    assert in_batches(now, 80, limit_s=30.0).steps == 7 * 8
    assert now[0] == 1028.0


def test_what_is_computed_is_counted_to_its_end(now: list[float]) -> None:
    assert in_batches(now, 7 * 8, limit_s=30.0).steps == 7 * 8  # another batch would not fit


def test_work_with_a_slow_beginning_is_done(now: list[float]) -> None:
    timed = TimedReporter(SilentReporter(), now[0] + 60.0)
    assert len(list(timed.track(steps(now, 200, 0.1, first=20.0), "work", 200))) == 200


def test_without_a_deadline_nothing_ends_the_work() -> None:
    timed = TimedReporter(SilentReporter(), None)
    assert list(timed.track(range(3), "work", 3)) == [0, 1, 2]
    assert time.monotonic() > 0
