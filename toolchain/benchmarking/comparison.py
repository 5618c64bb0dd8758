"""Two benchmarks of the same cases: which became faster, which slower, and where nobody can tell.

Calls within a round are not independent, since a disturbance lasts longer than a call. So a round
counts as one observation, by its median, and two benchmarks are compared by Welch's interval of the
difference of the logarithms of these medians.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

from toolchain.benchmarking.comparison_result import ComparedCase, Comparison, Verdict
from toolchain.benchmarking.result import Benchmark, TargetResult
from toolchain.benchmarking.samples import decode_samples
from toolchain.errors import DataError, RefusedError
from toolchain.machine import Machine

SAME_WITHIN = 0.03
"""A ratio whose interval reaches within 3 % of 1 is not called faster or slower: two benchmarks of
one file on one machine are as far apart by where its processes lie in memory."""
T_975 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""97.5 % quantiles of Student's t for 1 to 10 degrees of freedom."""


def read_benchmark(path: Path) -> Benchmark:
    """Return a benchmark that `rtl bench` wrote; DataError for any other file."""
    hint = "give a file that rtl bench -o FILE has written"
    try:
        content = path.read_bytes()
        found = msgspec.json.decode(content)
        rows = found.get("results") if isinstance(found, dict) else None
        if isinstance(rows, list) and any("samples" not in row for row in rows):
            raise DataError(
                f"{path} is of an rtl that kept no single latencies, so it can't be compared",
                hint="measure it again, with the rtl or the model of then",
            )
        return msgspec.json.decode(content, type=Benchmark)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path} can't be read: {reason}", hint=hint) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no result of rtl bench: {error}", hint=hint) from error


def compared(before: Benchmark, now: Benchmark, source: str) -> Comparison:
    """Return how each case of `now` differs from that of `before`, the content of file `source`.

    Raises RefusedError where they were measured on different machines, or under another load, and
    DataError for samples that are damaged or no case in common.
    """
    require_comparable(before, now.machine, now.busy, source)
    old = {_case(row): row for row in before.results}
    new = {_case(row): row for row in now.results}
    both = [key for key in new if key in old]
    if not both:
        raise DataError(
            f"{source} has no case in common with this benchmark",
            hint="measure the same file names, providers, threads and batch sizes",
        )
    try:
        cases = [_compared_case(old[key], new[key]) for key in both]
    except ValueError as error:
        raise DataError(f"{source} is damaged: {error}") from error
    return Comparison(
        before=source,
        cases=cases,
        only_before=[_described(old[key]) for key in old if key not in new],
        only_now=[_described(new[key]) for key in new if key not in old],
        versions=_changed_versions(before.machine, now.machine),
    )


def ratio_interval(
    before: Sequence[Sequence[float]], now: Sequence[Sequence[float]]
) -> tuple[float, float]:
    """Return the 95 % interval of the ratio of latencies, now over before, from their rounds.

    Welch 1947, on the logarithms of the rounds' medians. Infinite with one round.
    """
    first, second = ([math.log(statistics.median(r)) for r in rounds] for rounds in (before, now))
    difference = statistics.fmean(second) - statistics.fmean(first)
    if min(len(first), len(second)) < 2:
        return 0.0, math.inf
    errors = [statistics.variance(values) / len(values) for values in (first, second)]
    total = sum(errors)
    parts = sum(
        error**2 / (len(values) - 1) for error, values in zip(errors, (first, second), strict=True)
    )
    degrees = int(total**2 / parts) if parts else len(T_975)
    half = T_975[min(max(degrees, 1), len(T_975)) - 1] * math.sqrt(total)
    return math.exp(difference - half), math.exp(difference + half)


def require_not_slower(now: Benchmark, share: float) -> None:
    """Raise RefusedError where a case of a compared benchmark is slower by `share` or more."""
    assert now.comparison is not None
    slower = now.comparison.slower_by(share)
    if slower:
        worst = max(slower, key=lambda case: case.ratio)
        raise RefusedError(
            f"{len(slower)} of {len(now.comparison.cases)} cases slower by {share:.0%} or more "
            f"than in {now.comparison.before}: {worst.target} at batch {worst.batch_size} takes "
            f"{worst.ratio:.2f} times as long",
        )


def require_comparable(before: Benchmark, machine: Machine, busy: int, source: str) -> None:
    """Raise RefusedError where a benchmark was measured on another machine or under another load.

    `machine` and `busy` are those of the benchmark to put beside it.
    """
    names = ("processor", "cores", "instructions", "system")
    differing = [n for n in names if getattr(before.machine, n) != getattr(machine, n)]
    if differing:
        raise RefusedError(
            f"{source} was measured on another machine ({before.machine.processor}, "
            f"{before.machine.cores} cores; here {machine.processor}, {machine.cores}): "
            f"{', '.join(differing)} differ",
            hint="measure both here",
        )
    if before.busy != busy:
        raise RefusedError(
            f"{source} was measured beside {before.busy} busy processes, this beside {busy}",
            hint=f"measure with --busy {before.busy}",
        )


def _compared_case(before: TargetResult, now: TargetResult) -> ComparedCase:
    old, new = decode_samples(before.samples), decode_samples(now.samples)
    low, high = ratio_interval(old, new)
    verdict: Verdict = "cannot tell"
    if low > 1 + SAME_WITHIN:
        verdict = "slower"
    elif high < 1 / (1 + SAME_WITHIN):
        verdict = "faster"
    medians = [statistics.fmean(math.log(statistics.median(r)) for r in v) for v in (old, new)]
    return ComparedCase(
        target=now.target,
        provider=now.provider,
        threads=now.threads,
        spin=now.spin,
        batch_size=now.batch_size,
        verdict=verdict,
        p50_before_ms=before.p50_ms,
        p50_ms=now.p50_ms,
        ratio=math.exp(medians[1] - medians[0]),
        ratio_interval=(low, high),
    )


def _case(row: TargetResult) -> tuple[str, str, int, bool, int]:
    return row.target, row.provider, row.threads, row.spin, row.batch_size


def _described(row: TargetResult) -> str:
    return f"{row.target}, batch {row.batch_size}, {row.threads} threads"


def _changed_versions(before: Machine, now: Machine) -> list[str]:
    old, new = before.versions, now.versions
    return [
        f"{name} {old.get(name, 'none')} → {new.get(name, 'none')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
