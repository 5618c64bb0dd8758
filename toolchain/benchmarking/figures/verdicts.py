"""Whether the figures of a case can be relied on: VALID, or INVALID with the reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from toolchain.benchmarking.figures.conditions import Conditions
from toolchain.benchmarking.figures.queries import NEEDED
from toolchain.benchmarking.figures.statistics import percentile
from toolchain.display import counted
from toolchain.runtime.cores import usable_cores

Verdict = Literal["VALID", "INVALID"]
Kind = Literal["unstable", "too few calls", "machine busy", "throttled", "answers differ"]
Percentile = Literal["p50", "p90", "p99"]

STABLE_WITHIN = 0.10
"""Medians of the rounds are within 10 % of each other, or the case is unstable."""
LEAST_ROUNDS = 3
"""Fewer can't show that they agree."""
OTHERS_SHARE = 0.05
"""Share of the cores' time in other programs, above which the machine counts as busy."""
LEAST_SECONDS = 0.3
"""The counters of the processor's time are too coarse for less."""
THROTTLED_SHARE = 0.01
SLOWER_WITHIN = 0.10
"""The same small work takes at most 10 % longer in the slowest round than in the fastest."""


class Reason(msgspec.Struct, frozen=True):
    """Why a case is INVALID."""

    kind: Kind
    detail: str


def verdict_of(reasons: Sequence[Reason]) -> Verdict:
    """Return VALID where there is no reason against it."""
    return "INVALID" if reasons else "VALID"


def reasons_against(
    rounds: Sequence[Sequence[float]],
    conditions: Conditions | None,
    wanted: Percentile,
    *,
    busy: int = 0,
) -> list[Reason]:
    """Return what speaks against the figures of a case, from the latencies in ms of its rounds.

    `wanted` is the percentile that has to have enough calls. With `busy` processes that were
    started beside it, the machine is busy on purpose.
    """
    found = [_unstable(rounds), _too_few(rounds, wanted)]
    if conditions is not None:
        busy_reason = None if busy else _machine_busy(conditions)
        found += [busy_reason, _throttled(conditions, by_speed=not (busy or busy_reason))]
    return [reason for reason in found if reason is not None]


def _unstable(rounds: Sequence[Sequence[float]]) -> Reason | None:
    medians = [percentile(sorted(values), 0.5) for values in rounds]
    if len(medians) < LEAST_ROUNDS:
        return Reason("unstable", f"{len(medians)} rounds can't show that they agree")
    low, high = min(medians), max(medians)
    if high <= low * (1 + STABLE_WITHIN):
        return None
    return Reason("unstable", f"medians of its rounds are {_ms(low)} to {_ms(high)} ms")


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _too_few(rounds: Sequence[Sequence[float]], wanted: Percentile) -> Reason | None:
    calls, needed = sum(map(len, rounds)), NEEDED[wanted]
    if calls >= needed:
        return None
    seconds = math.fsum(map(math.fsum, rounds)) / 1e3 * needed / calls
    return Reason(
        "too few calls", f"{wanted} needs {needed} calls, has {calls}; about {seconds:.1f} s of it"
    )


def _machine_busy(conditions: Conditions) -> Reason | None:
    if conditions.others_s is None or conditions.seconds < LEAST_SECONDS:
        return None
    others, cores = conditions.others_s / conditions.seconds, usable_cores()
    if others <= OTHERS_SHARE * cores:
        return None
    return Reason("machine busy", f"other programs took {others:.2g} of {counted(cores, 'core')}")


def _throttled(conditions: Conditions, *, by_speed: bool) -> Reason | None:
    if conditions.quota_s is not None and conditions.quota_s > THROTTLED_SHARE * conditions.seconds:
        share = conditions.quota_s / conditions.seconds
        return Reason(
            "throttled", f"the container's limit held it back for {share:.0%} of the time"
        )
    if conditions.too_hot:
        return Reason("throttled", f"a core was too hot {conditions.too_hot} times")
    slowest, fastest = max(conditions.work_ms, default=0), min(conditions.work_ms, default=0)
    if by_speed and slowest > fastest * (1 + SLOWER_WITHIN) and len(conditions.work_ms) > 1:
        return Reason(
            "throttled", f"the processor was {slowest / fastest - 1:.0%} slower in some rounds"
        )
    return None
