"""Two benchmarks of the same cases: which became faster, which slower, and where nobody can tell.

Calls within a round are not independent, since a disturbance lasts longer than a call. So a round
counts as one observation, by its median, and two benchmarks are compared by Welch's interval of the
difference of the logarithms of these medians. Where the machine's speed drifts, two benchmarks are
further apart than the rounds of one: what the rounds of one differ by is no difference of two.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import msgspec

from toolchain.benchmarking.comparison_result import SAME_WITHIN, ComparedCase, Comparison, Verdict
from toolchain.benchmarking.figures.bootstrap import student_t
from toolchain.benchmarking.figures.case_name import CaseAfterPauseKey, CaseKey
from toolchain.benchmarking.figures.samples import decode_samples
from toolchain.benchmarking.reading import read_benchmark
from toolchain.benchmarking.result import Benchmark
from toolchain.benchmarking.rows import PauseResult, TargetResult
from toolchain.display import counted
from toolchain.errors import DataError, RefusedError
from toolchain.machine import Machine

Timed = TargetResult | PauseResult
"""A row of a benchmark with single latencies."""
Key = CaseKey | CaseAfterPauseKey
Rounds = Sequence[Sequence[float]]
"""Latencies in ms of each round's calls."""
MOST_NAMED = 3
"""Cases that a message names."""


def comparable_benchmark(path: Path) -> Benchmark:
    """Return a benchmark of a file whose single latencies can be read; DataError for any other."""
    found = read_benchmark(path)
    if any(row.samples is None for row in found.results):
        raise DataError(
            f"{path} is of an rtl that kept no single latencies, so it can't be compared",
            hint="measure it again, with the rtl or the model of then",
        )
    try:
        for row in timed_rows(found).values():
            rounds_of(row)
    except ValueError as error:
        raise DataError(
            f"{path} is damaged: {error}", hint="measure it again, with the model of then"
        ) from error
    return found


def compared(
    before: Benchmark, now: Benchmark, source: str, *, rescale: bool = False
) -> Comparison:
    """Return how each case of `now` differs from that of `before`, the content of file `source`.

    With `rescale`, times of another machine are scaled by how fast both multiply matrices. Raises
    RefusedError where they were measured on different machines without it, or under another load,
    and DataError for no case in common.
    """
    require_comparable(before, now.machine, now.busy, source, rescale=rescale)
    factors = _factors(before, now) if _differing(before.machine, now.machine) else {}
    require_common_case(before, [row.case for row in now.results], source)
    old, new = timed_rows(before), timed_rows(now)
    lacks_pauses = any(row.samples is None for row in before.pauses)
    if lacks_pauses:
        new = {key: row for key, row in new.items() if isinstance(row, TargetResult)}
    both = [key for key in new if key in old]
    return Comparison(
        before=source,
        other_machine=str(before.machine) if factors else None,
        cases=[_beside_before(old[key], new[key], factors.get(new[key].threads)) for key in both],
        only_before=[key.described for key in old if key not in new],
        only_now=[key.described for key in new if key not in old],
        not_compared=besides_latencies(now, lacks_pauses=lacks_pauses),
        versions=_changed_versions(before.machine, now.machine),
    )


def ratio_interval(
    before: Sequence[Sequence[float]], now: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """Return the 95 % interval of the ratio of latencies, now over before, from their rounds.

    Welch 1947, on the logarithms of the rounds' medians. Infinite with one round.
    """
    first, second = ([math.log(statistics.median(r)) for r in rounds] for rounds in (before, now))
    if min(len(first), len(second)) < 2:
        return 0.0, math.inf
    errors = [statistics.variance(values) / len(values) for values in (first, second)]
    total = sum(errors)
    parts = sum(
        error**2 / (len(values) - 1) for error, values in zip(errors, (first, second), strict=True)
    )
    degrees = int(total**2 / parts) if parts else 1
    half = student_t(degrees) * math.sqrt(total)
    difference = statistics.fmean(second) - statistics.fmean(first)
    return math.exp(difference - half), math.exp(difference + half)


def rounds_spread(rounds: Sequence[Sequence[float]]) -> float:
    """Return the median latency of the slowest round over that of the fastest, 1 or more."""
    medians = [statistics.median(values) for values in rounds]
    return max(medians) / min(medians)


def require_comparable(
    before: Benchmark, machine: Machine, busy: int, source: str, *, rescale: bool = False
) -> None:
    """Raise RefusedError where a benchmark was measured on another machine or under another load.

    `machine` and `busy` are those of the benchmark to put beside it. With `rescale` it may be
    another machine, whose speed is known.
    """
    differing = _differing(before.machine, machine)
    if differing and rescale and not before.peaks:
        raise RefusedError(
            f"{source} is of an rtl that did not measure its machine, so it can't be rescaled",
            hint="measure it again there, with this rtl",
        )
    if differing and not rescale:
        raise RefusedError(
            f"{source} was measured on another machine ({before.machine.processor}, "
            f"{before.machine.cores} cores; here {machine.processor}, {machine.cores}): "
            f"{', '.join(differing)} {'differs' if len(differing) == 1 else 'differ'}",
            hint="measure both here; with --rescale they are compared roughly",
        )
    if before.busy != busy:
        processes = counted(before.busy, "busy process", "busy processes")
        raise RefusedError(
            f"{source} was measured beside {processes}, this beside {busy}",
            hint=f"measure with --busy {before.busy}",
        )


def require_common_case(before: Benchmark, cases: Collection[CaseKey], source: str) -> None:
    """Raise DataError where a benchmark has none of these cases."""
    if not any(row.case in cases for row in before.results):
        raise DataError(
            f"{source} has no case in common with this benchmark. There: "
            f"{some_of(row.case for row in before.results)}. Here: {some_of(cases)}",
            hint="measure the same files together, with its providers, threads and batch sizes",
        )


def some_of(cases: Iterable[CaseKey]) -> str:
    """Return the first of some cases in words, and how many more there are."""
    named = [case.described for case in cases]
    more = [f"{len(named) - MOST_NAMED} more"] if len(named) > MOST_NAMED else []
    return "; ".join(named[:MOST_NAMED] + more) or "none"


def timed_rows(benchmark: Benchmark) -> dict[Key, Timed]:
    """Return the rows whose single latencies are kept, by what tells them apart."""
    rows: list[Timed] = [*benchmark.results, *benchmark.pauses]
    return {row.key: row for row in rows if row.samples is not None}


def _beside_before(before: Timed, now: Timed, factor: float | None) -> ComparedCase:
    """Return how a case differs; with a factor, its times before were measured elsewhere."""
    scale = factor or 1.0
    old, new = [[scale * ms for ms in part] for part in rounds_of(before)], rounds_of(now)
    spread = max(rounds_spread(old), rounds_spread(new))
    case = compared_case(
        now.case, old, new, ratio_interval(old, new), same_up_to=max(1 + SAME_WITHIN, spread)
    )
    pause = now if isinstance(now, PauseResult) else None
    return msgspec.structs.replace(
        case,
        pause_s=None if pause is None else pause.pause_s,
        keep_warm=pause is not None and pause.keep_warm,
        rescaled_by=factor,
        rounds_spread=spread,
    )


def compared_case(
    case: CaseKey,
    before: Rounds,
    now: Rounds,
    interval: tuple[float, float],
    *,
    same_up_to: float,
) -> ComparedCase:
    """Return how a case differs from what it was before, by the interval of the ratio.

    Ratios up to `same_up_to` are no difference.
    """
    low, high = interval
    verdict: Verdict = "cannot tell"
    if low > same_up_to:
        verdict = "slower"
    elif high < 1 / same_up_to:
        verdict = "faster"
    before_ms, now_ms = (
        statistics.geometric_mean(statistics.median(part) for part in rounds)
        for rounds in (before, now)
    )
    return ComparedCase(
        **case._asdict(),
        verdict=verdict,
        before_ms=before_ms,
        now_ms=now_ms,
        ratio=now_ms / before_ms,
        ratio_interval=interval,
    )


def _differing(first: Machine, second: Machine) -> list[str]:
    """Return what makes two machines different ones."""
    names = ("processor", "cores", "instructions", "system")
    return [name for name in names if getattr(first, name) != getattr(second, name)]


def _factors(before: Benchmark, now: Benchmark) -> dict[int, float]:
    """Return, by threads, what times of the earlier machine are multiplied by."""
    speeds = {peak.threads: peak.sgemm_flops_per_s for peak in now.peaks}
    return {
        peak.threads: peak.sgemm_flops_per_s / speeds[peak.threads]
        for peak in before.peaks
        if peak.threads in speeds
    }


def rounds_of(row: Timed) -> list[list[float]]:
    """Return the latencies in ms of each round's calls; raise ValueError where they are damaged."""
    assert row.samples is not None  # those without are refused, or left out
    return decode_samples(row.samples)


def besides_latencies(now: Benchmark, *, lacks_pauses: bool = False) -> list[str]:
    """Return what was measured now and is not compared.

    Calls after pauses are among it where the earlier benchmark did not keep them singly.
    """
    parts = {
        "calls after a pause": now.pauses if lacks_pauses else [],
        "stages": now.stages,
        "cold starts": now.cold_starts,
        "scenarios": now.scenarios,
        "limits": now.limits,
    }
    return [name for name, rows in parts.items() if rows]


def _changed_versions(before: Machine, now: Machine) -> list[str]:
    old, new = before.versions, now.versions
    return [
        f"{name} {old.get(name, 'none')} → {new.get(name, 'none')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
