"""How much faster one engine is than another here, by paired rounds, and whether that is noise."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping

import msgspec

ROUNDS = 15
LEAST_FASTER = 13
"""Rounds of ROUNDS in which an engine has to be faster: by chance that happens in 4 of 1,000."""
LEAST_RATIO = 1.05
"""An engine that is faster by less is not worth another one than the default."""
ROUND_S = 0.01
"""A call is repeated in a round until it has taken so long."""
MOST_CALLS = 20

Call = Callable[[], object]


class Timing(msgspec.Struct, frozen=True):
    """How fast an engine is for one image, beside the first one."""

    latency_ms: float
    """The median of the rounds."""
    ratio: float
    """The median of the rounds: seconds of the first over its own."""
    faster: int
    """Rounds in which it was faster than the first."""

    @property
    def beyond_noise(self) -> bool:
        """Whether it is faster than the first by more than noise."""
        return self.ratio >= LEAST_RATIO and self.faster >= LEAST_FASTER


def timings(calls: Mapping[str, Call]) -> dict[str, Timing]:
    """Return the timing of each engine beside the first, measured in turn in each of ROUNDS."""
    counts = {}
    for name, call in calls.items():
        call()  # the first call of a session is slower than those that follow
        counts[name] = min(MOST_CALLS, math.ceil(ROUND_S / max(_seconds(call, 1), 1e-6)))
    rounds = []
    for number in range(ROUNDS):
        # Turned round each time: what comes after a slow engine may find the caches cold.
        names = list(calls) if number % 2 else list(calls)[::-1]
        rounds.append({name: _seconds(calls[name], counts[name]) for name in names})
    first = next(iter(calls))
    return {
        name: Timing(
            latency_ms=statistics.median(found[name] for found in rounds) * 1e3,
            ratio=statistics.median(found[first] / found[name] for found in rounds),
            faster=sum(found[first] > found[name] for found in rounds),
        )
        for name in calls
    }


def fastest(measured: Mapping[str, Timing]) -> str:
    """Return the engine to take: the first, unless another is faster by more than noise.

    Of two that are as fast within LEAST_RATIO, the earlier one is taken.
    """
    first, *others = measured
    best, ratio = first, 1.0
    for name in others:
        if measured[name].beyond_noise and measured[name].ratio >= ratio * LEAST_RATIO:
            best, ratio = name, measured[name].ratio
    return best


def _seconds(call: Call, count: int) -> float:
    """Return the seconds of one call, as the mean of several."""
    started = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - started) / count
