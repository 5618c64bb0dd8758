"""The highest rate of queries that a server keeps, found by runs at one rate each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Run = TypeVar("Run")

PRECISION = 0.05
"""Short runs end where the rate that was kept and the one that was not are so close."""
MOST_BRIEF_RUNS = 20
LEAST_QUERIES = 5
"""A rate of fewer queries in the longest run is not tried."""
MOST_WHOLE_RUNS = 8


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
    runs of the whole time go on from there, upwards while the rate is kept, else downwards, and
    bisect what their last step was.
    """
    trials: list[Trial[Run]] = []

    def is_kept_at(rate: float, seconds: float) -> bool:
        run = run_at(rate, seconds)
        trials.append(Trial(rate, seconds, is_kept(run), run))
        return trials[-1].kept

    least = LEAST_QUERIES / whole_s
    brief = _Ends(lambda rate: is_kept_at(rate, brief_s), most_runs=MOST_BRIEF_RUNS)
    brief.walk(max(start_per_s, least), itertools.repeat(2.0), least)
    brief.bisect(PRECISION)
    whole = _Ends(lambda rate: is_kept_at(rate, whole_s), most_runs=MOST_WHOLE_RUNS)
    whole.walk(brief.low or least, _growing(), least)
    whole.bisect(2 * PRECISION)
    runs = [trial for trial in trials if trial.seconds == whole_s]
    best = max((t for t in runs if t.kept), key=lambda t: t.rate_per_s, default=runs[-1])
    return Found(trials, best)


class _Ends:
    """A rate that is kept and a higher one that is not, which runs of one length move together."""

    def __init__(self, is_kept: Callable[[float], bool], most_runs: int) -> None:
        self.low: float | None = None
        self.high: float | None = None
        self._is_kept, self._runs_left = is_kept, most_runs

    def walk(self, rate: float, factors: Iterator[float], least: float) -> None:
        """Go up while the rate is kept, else down to the least rate, until there are both ends."""
        while self._runs_left and (self.low is None or self.high is None):
            kept = self._run(rate)
            if not kept and rate <= least:
                return
            factor = next(factors)
            rate = rate * factor if kept else max(rate / factor, least)

    def bisect(self, precision: float) -> None:
        """Bring the ends together, where there are both."""
        while self._runs_left and self.low is not None and self.high is not None:
            if self.high <= self.low * (1 + precision):
                return
            self._run(math.sqrt(self.low * self.high))

    def _run(self, rate: float) -> bool:
        self._runs_left -= 1
        kept = self._is_kept(rate)
        if kept:
            self.low = rate
        else:
            self.high = rate
        return kept


def _growing() -> Iterator[float]:
    """Yield factors that grow from one step to the next: 1.05, 1.1, 1.2, 1.4, 1.8, 2, 2…."""
    step = PRECISION
    while True:
        yield 1 + step
        step = min(2 * step, 1.0)
