"""Measure which of several functions has the highest throughput on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

ROUNDS = 2
ROUND_S = 0.1
"""How long one function is measured in one round; a call under way is finished."""


def fastest(functions: Sequence[Callable[[], object]], *, workers: int) -> int:
    """Return the index of the function that `workers` threads together call most often.

    The functions are measured in turn, so that a drift of the machine affects all of them alike.
    """
    with ThreadPoolExecutor(workers) as pool:
        for function in functions:
            function()  # the first call of a session is slower than those that follow
        rounds = [
            [_calls_per_second(function, pool, workers) for function in functions]
            for _ in range(ROUNDS)
        ]
    best = [max(rates) for rates in zip(*rounds, strict=True)]
    return best.index(max(best))


def _calls_per_second(
    function: Callable[[], object], pool: ThreadPoolExecutor, workers: int
) -> float:
    """Return the calls per second of all threads together."""

    def rate_of_one_thread() -> float:
        started, calls = time.perf_counter(), 0
        while (passed := time.perf_counter() - started) < ROUND_S:
            function()
            calls += 1
        return calls / passed

    return sum(
        future.result() for future in [pool.submit(rate_of_one_thread) for _ in range(workers)]
    )
