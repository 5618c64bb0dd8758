"""Measure the targets in turn, so that drift of the machine affects all of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from toolchain.benchmarking.targets import TargetProcess
from toolchain.progress import ProgressReporter

ROUNDS = 5
WARM_UP_S = 0.3
CALLS_AFTER_PAUSE = 10
"""Calls after each pause. Ten are the fewest that bound a median by values other than the first."""


@dataclass
class Case:
    """One target at one batch size, and what was measured."""

    process: TargetProcess
    batch_size: int
    rounds: list[list[float]] = field(default_factory=list)
    """Latencies in ms of each round's calls."""
    peak_memory_mb: float | None = None


@dataclass(frozen=True)
class CaseAfterPause:
    """One target at its smallest batch size, called after pauses."""

    process: TargetProcess
    batch_size: int
    pause_s: float
    keep_warm: bool
    latencies_ms: list[float]


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


def measure_after_pauses(
    cases: Sequence[Case], pauses_s: Sequence[float], progress: ProgressReporter
) -> list[CaseAfterPause]:
    """Measure calls after pauses, each target at its smallest batch size, as requests come singly.

    Each pause is measured as it is, and with the target called during it to keep it warm.
    """
    smallest = {id(case.process): case for case in reversed(cases)}
    turns = [
        (case, pause_s, keep_warm)
        for pause_s in pauses_s
        for case in cases
        if smallest[id(case.process)] is case
        for keep_warm in (False, True)
    ]
    found = []
    for case, pause_s, keep_warm in progress.track(turns, "measuring after pauses", len(turns)):
        latencies_ms = case.process.measure_idle(
            case.batch_size, CALLS_AFTER_PAUSE, pause_s, keep_warm=keep_warm
        )
        found.append(
            CaseAfterPause(case.process, case.batch_size, pause_s, keep_warm, latencies_ms)
        )
    return found
