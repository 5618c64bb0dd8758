"""What a benchmark may be required to be: VALID, and not slower than an earlier one."""

from __future__ import annotations

from toolchain.benchmarking.result import Benchmark
from toolchain.errors import RefusedError


def require(result: Benchmark, *, valid: bool = False, not_slower_by: float | None = None) -> None:
    """Raise RefusedError where a benchmark is not what is required of it.

    `not_slower_by` are per cent, with a benchmark that is beside an earlier one.
    """
    if valid:
        require_valid(result)
    if not_slower_by is not None:
        require_not_slower(result, not_slower_by / 100)


def require_valid(result: Benchmark) -> None:
    """Raise RefusedError where a case of a benchmark is INVALID, or a scenario."""
    invalid = [row for row in result.results if row.reasons]
    if invalid:
        reason = invalid[0].reasons[0]
        raise RefusedError(
            f"{len(invalid)} of {len(result.results)} cases are INVALID: {invalid[0].described}: "
            f"{reason.kind}, {reason.detail}",
            hint="measure on a quiet machine, or for longer (--seconds, --retries)",
        )
    scenarios = [row for row in result.scenarios if row.verdict == "INVALID"]
    if scenarios:
        raise RefusedError(
            f"{len(scenarios)} of {len(result.scenarios)} scenarios are INVALID: "
            f"{scenarios[0].target}, {scenarios[0].scenario}: {'; '.join(scenarios[0].reasons)}",
            hint="measure for longer (--seconds), or with a longer --latency-bound",
        )


def require_not_slower(now: Benchmark, share: float) -> None:
    """Raise RefusedError where a case of a compared benchmark is slower by `share` or more."""
    assert now.comparison is not None
    slower = now.comparison.slower_by(share)
    if slower:
        worst = max(slower, key=lambda case: case.ratio)
        before = f"{'' if now.comparison.in_turn else 'in '}{now.comparison.before}"
        raise RefusedError(
            f"{len(slower)} of {len(now.comparison.cases)} cases slower by {share:.0%} or more "
            f"than {before}: {worst.target} {worst.place} takes "
            f"{worst.ratio:.2f} times as long",
        )
