"""Measure the targets in turn, so that drift of the machine affects all of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from toolchain.benchmarking.targets import TargetProcess
from toolchain.progress import ProgressReporter

ROUNDS = 5
WARM_UP_S = 0.3


@dataclass
class Case:
    """One target at one batch size, and what was measured."""

    process: TargetProcess
    batch_size: int
    rounds: list[list[float]] = field(default_factory=list)
    """Latencies in ms of each round's calls."""
    peak_memory_mb: float | None = None


def measure(
    batch_sizes: Sequence[tuple[TargetProcess, Sequence[int]]],
    seconds: float,
    progress: ProgressReporter,
) -> list[Case]:
    """Warm each case up, then measure all cases in turn, round by round.

    `batch_sizes` are those of each target, `seconds` the time of a case over all rounds.
    """
    cases = [Case(process, size) for process, sizes in batch_sizes for size in sorted(sizes)]
    # From the smallest batch to the largest, as a process's peak memory never falls again.
    for case in progress.track(cases, "warming up", len(cases)):
        case.peak_memory_mb = case.process.measure(case.batch_size, WARM_UP_S).peak_memory_mb
    turns = [case for _ in range(ROUNDS) for case in cases]
    for case in progress.track(turns, "measuring", len(turns)):
        case.rounds.append(case.process.measure(case.batch_size, seconds / ROUNDS).latencies_ms)
    return cases
