"""The search of the highest rate, on a server that is simulated."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from toolchain.benchmarking.scenarios.search import (
    LEAST_QUERIES,
    MOST_BRIEF_RUNS,
    MOST_WHOLE_RUNS,
    PRECISION,
    Found,
    highest_rate,
)


@dataclass
class SimulatedServer:
    """Answers queries one after the other, which arrive at random times."""

    service_s: float
    bound_s: float
    percentile: float = 0.99
    seed: int = 0
    asked: list[tuple[float, float]] = field(default_factory=list)

    def run_at(self, rate: float, seconds: float) -> bool:
        """Return whether the percentile of the latencies is within the bound."""
        self.asked.append((rate, seconds))
        arrivals = random.Random(self.seed + len(self.asked))
        arrived = free = 0.0
        latencies = []
        while arrived < seconds:
            arrived += arrivals.expovariate(rate)
            free = max(free, arrived) + self.service_s
            latencies.append(free - arrived)
        return sorted(latencies)[int(len(latencies) * self.percentile)] <= self.bound_s

    def search(self, start_per_s: float, whole_s: float = 120.0) -> Found[bool]:
        return highest_rate(
            self.run_at, bool, start_per_s=start_per_s, brief_s=whole_s / 4, whole_s=whole_s
        )


@pytest.mark.parametrize("start_per_s", [0.5, 20.0, 49.0, 400.0])
def test_the_rate_is_found_wherever_the_search_begins(start_per_s: float) -> None:
    # Of a server that needs 20 ms, by a simulation of hours: p99 passes 100 ms at 28 a second.
    server = SimulatedServer(service_s=0.02, bound_s=0.1)
    found = server.search(start_per_s)
    assert found.rate_per_s is not None
    assert found.rate_per_s == pytest.approx(28, rel=0.1)
    assert found.too_high is not None
    assert found.too_high > found.rate_per_s
    # It was kept for the whole time, and few runs are as long.
    assert (found.rate_per_s, 120.0) in server.asked
    assert sum(seconds == 120.0 for _, seconds in server.asked) <= MOST_WHOLE_RUNS
    assert sum(seconds < 120.0 for _, seconds in server.asked) <= 14


def test_the_kept_rate_and_the_one_too_high_are_close() -> None:
    found = highest_rate(lambda rate, _: rate, lambda rate: rate <= 31.4, start_per_s=10,
                         brief_s=1, whole_s=4)  # fmt: skip
    assert found.rate_per_s is not None
    assert found.too_high is not None
    assert found.rate_per_s <= 31.4 < found.too_high <= found.rate_per_s * (1 + PRECISION) + 1e-9


def test_a_rate_that_only_short_runs_keep_is_lowered_until_a_long_one_keeps_it() -> None:
    limits = {1.0: 40.0, 4.0: 30.0}
    runs: list[tuple[float, float]] = []

    def run_at(rate: float, seconds: float) -> bool:
        runs.append((rate, seconds))
        return rate <= limits[seconds]

    found = highest_rate(run_at, bool, start_per_s=10, brief_s=1.0, whole_s=4.0)
    assert found.rate_per_s is not None
    assert 20 < found.rate_per_s <= 30
    long = [rate for rate, seconds in runs if seconds == 4.0]
    assert 1 < len(long) <= MOST_WHOLE_RUNS
    assert long[0] > long[1]
    assert found.too_high is not None
    assert found.too_high <= found.rate_per_s * (1 + 2 * PRECISION) + 1e-9


def test_where_no_rate_is_kept_the_lowest_is_run_for_the_whole_time() -> None:
    server = SimulatedServer(service_s=0.2, bound_s=0.1)
    found = server.search(5.0, whole_s=10.0)
    assert found.rate_per_s is None
    assert found.best.rate_per_s == LEAST_QUERIES / 10.0
    assert server.asked[-1] == (LEAST_QUERIES / 10.0, 10.0)


def test_a_rate_that_short_runs_do_not_keep_by_bad_luck_is_tried_for_the_whole_time() -> None:
    def run_at(rate: float, seconds: float) -> bool:
        return rate <= (24 if seconds == 1.0 else 30)

    found = highest_rate(run_at, bool, start_per_s=10, brief_s=1.0, whole_s=4.0)
    assert found.rate_per_s is not None
    assert 26 < found.rate_per_s <= 30
    assert found.too_high is not None


def test_a_server_that_keeps_every_rate_ends_the_search() -> None:
    found = highest_rate(lambda *_: True, bool, start_per_s=2, brief_s=1, whole_s=4)
    assert found.rate_per_s is not None
    assert found.rate_per_s > 2**20
    assert found.too_high is None
    assert len(found.trials) == MOST_BRIEF_RUNS + MOST_WHOLE_RUNS
