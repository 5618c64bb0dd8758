"""From what was measured to the rows of the result."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from toolchain.benchmarking.figures.queries import lacking_calls
from toolchain.benchmarking.figures.samples import encode_samples
from toolchain.benchmarking.figures.statistics import (
    Interval,
    Latency,
    paired_ratio_interval,
    percentile,
    percentile_interval,
    summarise,
)
from toolchain.benchmarking.figures.verdicts import verdict_of
from toolchain.benchmarking.processes.targets import Target
from toolchain.benchmarking.rounds import Case, CaseAfterPause, Judge
from toolchain.benchmarking.rows import PauseResult, TargetResult


def target_results(
    cases: Sequence[Case], load_ms: dict[Target, float], judge: Judge
) -> list[TargetResult]:
    """Return a result for each case, in the order of the targets."""
    first = cases[0].process.target
    firsts: dict[tuple[int, int], Latency] = {}
    results = []
    for case in cases:
        target = case.process.target
        latency = summarise(case.rounds)
        same_file = (target.path, target.eager, target.spin) == (first.path, first.eager, False)
        if same_file and target.provider == first.provider:
            firsts[case.batch_size, target.threads] = latency
        base = firsts.get((case.batch_size, target.threads))
        results.append(_target_result(case, latency, base, load_ms[target], judge))
    return results


def _target_result(
    case: Case, latency: Latency, base: Latency | None, load_ms: float, judge: Judge
) -> TargetResult:
    """Return the result of a case; `base` is the first target's latency beside it."""
    target, conditions, reasons = case.process.target, case.conditions, list(judge(case))
    assert conditions is not None
    ratio_interval = None
    if base is not None and base is not latency:
        ratio_interval = paired_ratio_interval(base, latency)
    return TargetResult(
        target=target.name,
        model=str(target.path),
        provider=target.provider,
        threads=target.threads,
        spin=target.spin,
        batch_size=case.batch_size,
        verdict=verdict_of(reasons),
        reasons=reasons,
        attempts=case.attempts,
        calls=latency.calls,
        lacking_calls=lacking_calls(latency.calls),
        p50_ms=latency.p50_ms,
        p50_interval_ms=latency.p50_interval_ms,
        p90_ms=latency.p90_ms,
        p90_interval_ms=latency.p90_interval_ms,
        p99_ms=latency.p99_ms,
        p99_interval_ms=latency.p99_interval_ms,
        mean_ms=latency.mean_ms,
        mean_interval_ms=latency.mean_interval_ms,
        min_ms=latency.min_ms,
        min_interval_ms=latency.min_interval_ms,
        images_per_s=case.batch_size * 1e3 / latency.mean_ms,
        images_per_s_interval=_per_second(case.batch_size, latency.mean_interval_ms),
        ratio_to_first=None if base is None else base.p50_ms / latency.p50_ms,
        ratio_to_first_interval=ratio_interval,
        load_ms=load_ms,
        peak_memory_mb=case.peak_memory_mb,
        others_cores=_share(conditions.others_s, conditions.seconds),
        energy_j_per_image=_share(conditions.energy_j, latency.calls * case.batch_size),
        samples=encode_samples(case.rounds),
    )


def _share(amount: float | None, whole: float) -> float | None:
    return None if amount is None or not whole else amount / whole


def _per_second(batch_size: int, interval_ms: Interval) -> Interval:
    """Return the interval of images a second for one of the mean latency of a batch."""
    low, high = interval_ms
    return (
        None if high is None else batch_size * 1e3 / high,
        None if low is None else batch_size * 1e3 / low,
    )


def pause_results(
    found: Sequence[CaseAfterPause], results: Sequence[TargetResult]
) -> list[PauseResult]:
    """Return a result for each pause, beside the calls of its target that follow each other."""
    steady_ms = {row.case: row.p50_ms for row in results}
    rows = []
    for case in found:
        target, ordered = case.process.target, sorted(itertools.chain(*case.rounds))
        name = target.case(case.batch_size)
        p50_ms = percentile(ordered, 0.5)
        rows.append(
            PauseResult(
                **name._asdict(),
                pause_s=case.pause_s,
                keep_warm=case.keep_warm,
                calls=len(ordered),
                p50_ms=p50_ms,
                p50_interval_ms=percentile_interval(ordered, 0.5),
                ratio_to_back_to_back=p50_ms / steady_ms[name],
                samples=encode_samples(case.rounds),
            )
        )
    return rows
