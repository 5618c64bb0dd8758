"""Measure contenders in turn, so that a drift of the machine meets all of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from toolchain.benchmarking.targets import Process
from toolchain.progress import ProgressReporter

ROUNDS = 5
WARM_UP_S = 0.3


@dataclass
class Case:
    """One contender at one batch size, and what was measured."""

    process: Process
    batch_size: int
    rounds: list[list[float]] = field(default_factory=list)
    peak_memory_mb: float | None = None


def measure(
    processes: Sequence[Process],
    batch_sizes: Sequence[int],
    seconds: float,
    progress: ProgressReporter,
) -> list[Case]:
    """Warm each case up, then measure all in turn, round by round, `seconds` for each in all."""
    cases = [Case(process, size) for process in processes for size in sorted(batch_sizes)]
    # From the smallest batch to the largest, so that each peak is that of its own batch.
    for case in progress.track(cases, "warming up", len(cases)):
        case.peak_memory_mb = case.process.measure(case.batch_size, WARM_UP_S).peak_memory_mb
    turns = [case for _ in range(ROUNDS) for case in cases]
    for case in progress.track(turns, "measuring", len(turns)):
        case.rounds.append(case.process.measure(case.batch_size, seconds / ROUNDS).latencies_ms)
    return cases
