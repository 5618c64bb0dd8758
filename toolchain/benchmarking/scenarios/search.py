"""The highest rate of queries that a server keeps, found by runs at one rate each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Run = TypeVar("Run")

PRECISION = 0.05
"""Short runs end where the rate that was kept and the one that was not are so close."""
MOST_STEPS = 12
"""Doublings, or halvings, until one rate is kept and one is not."""
LEAST_QUERIES = 5
"""A rate of fewer queries in the longest run is not tried."""
MOST_WHOLE_RUNS = 5


@dataclass(frozen=True)
class Trial(Generic[Run]):
    """One run at a rate."""

    rate_per_s: float
    seconds: float
    kept: bool
    run: Run


@dataclass(frozen=True)
class Found(Generic[Run]):
    """What a search has found."""

    trials: list[Trial[Run]]
    best: Trial[Run]
    """The run of the whole time at the highest rate that was kept; the last one where none was."""

    @property
    def rate_per_s(self) -> float | None:
        """The highest rate that a run of the whole time kept; None for none."""
        return self.best.rate_per_s if self.best.kept else None

    @property
    def too_high(self) -> float | None:
        """The lowest rate above it that a run did not keep."""
        lowest = self.rate_per_s or 0.0
        failed = [t.rate_per_s for t in self.trials if not t.kept and t.rate_per_s > lowest]
        return min(failed, default=None)


def highest_rate(
    run_at: Callable[[float, float], Run],
    is_kept: Callable[[Run], bool],
    *,
    start_per_s: float,
    brief_s: float,
    whole_s: float,
) -> Found[Run]:
    """Return the highest rate whose run of `whole_s` seconds is kept.

    `run_at` makes a run at a rate for some seconds. Short runs of `brief_s` double or halve the
    rate until one is kept and one is not, then bisect between these. As few queries show little,
    runs of the whole time go on from there, upwards while the rate is kept, else downwards.
    """
    trials: list[Trial[Run]] = []

    def is_kept_at(rate: float, seconds: float) -> bool:
        run = run_at(rate, seconds)
        trials.append(Trial(rate, seconds, is_kept(run), run))
        return trials[-1].kept

    least = LEAST_QUERIES / whole_s
    low, high = _bracket(lambda rate: is_kept_at(rate, brief_s), max(start_per_s, least), least)
    while low is not None and high is not None and high > low * (1 + PRECISION):
        middle = math.sqrt(low * high)
        if is_kept_at(middle, brief_s):
            low = middle
        else:
            high = middle
    rate, step = low or least, PRECISION
    upwards: bool | None = None
    for _ in range(MOST_WHOLE_RUNS):
        kept = is_kept_at(rate, whole_s)
        if upwards not in (None, kept) or (not kept and rate <= least):
            break
        rate = max(rate * (1 + step if kept else 1 - step), least)
        step, upwards = step * 2, kept
    whole = [trial for trial in trials if trial.seconds == whole_s]
    best = max((t for t in whole if t.kept), key=lambda t: t.rate_per_s, default=whole[-1])
    return Found(trials, best)


def _bracket(
    is_kept: Callable[[float], bool], start: float, least: float
) -> tuple[float | None, float | None]:
    """Return a rate that is kept and a higher one that is not; None for one that is not found."""
    low: float | None = None
    high: float | None = None
    rate = start
    for _ in range(MOST_STEPS):
        if is_kept(rate):
            low, rate = rate, rate * 2
        else:
            high, rate = rate, rate / 2
        if (low is not None and high is not None) or rate < least:
            break
    return low, high
