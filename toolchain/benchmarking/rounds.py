"""Measure the targets in turn, so that drift of the machine affects all of them alike."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from toolchain.benchmarking.figures.conditions import Conditions, between, read_counters
from toolchain.benchmarking.figures.verdicts import Reason
from toolchain.benchmarking.processes.targets import TargetProcess
from toolchain.progress import ProgressReporter

ROUNDS = 5
WARM_UP_S = 0.3
MOST_TIMES_LONGER = 3.0
"""A case whose calls are so slow that it took so many times its seconds is not measured again."""
CALLS_AFTER_PAUSE = 2
"""Calls of a round after each pause. Ten in five rounds are the fewest that bound a median by
others than the first."""


@dataclass
class Case:
    """One target at one batch size, and what was measured."""

    process: TargetProcess
    batch_size: int
    rounds: list[list[float]] = field(default_factory=list)
    """Latencies in ms of each round's calls."""
    during: list[Conditions] = field(default_factory=list)
    """What the machine did in each round."""
    peak_memory_mb: float | None = None
    attempts: int = 0
    """How often its five rounds were measured. Those of a disturbed attempt are not kept."""

    @property
    def conditions(self) -> Conditions | None:
        """What the machine did in all rounds that were kept."""
        return functools.reduce(operator.add, self.during) if self.during else None

    @property
    def last_attempt_s(self) -> float:
        """How long the calls of the last attempt took."""
        return math.fsum(map(math.fsum, self.rounds[-ROUNDS:])) / 1e3


AnyCase = TypeVar("AnyCase")
Judge = Callable[[Case], Sequence[Reason]]
"""Returns what speaks against a case that was measured."""


@dataclass(frozen=True)
class CaseAfterPause:
    """One target at its smallest batch size, called after pauses."""

    process: TargetProcess
    batch_size: int
    pause_s: float
    keep_warm: bool
    rounds: list[list[float]] = field(default_factory=list)
    """Latencies in ms of each round's calls."""


def measure(
    batch_sizes: Sequence[tuple[TargetProcess, Sequence[int]]],
    seconds: float,
    judge: Judge,
    retries: int,
    progress: ProgressReporter,
) -> list[Case]:
    """Warm each case up, then measure all cases in turn, round by round.

    `batch_sizes` are those of each target, `seconds` the time of a case over its five rounds. What
    `judge` speaks against is measured again, up to `retries` times: where the calls were too few,
    they are added to, else the rounds are replaced. The cases that it is compared with are measured
    again with it, so that their rounds stay pairs. Calls so slow that a case took three times its
    seconds are not made again.
    """
    cases = [Case(process, size) for process, sizes in batch_sizes for size in sorted(sizes)]
    # From the smallest batch to the largest, as a process's peak memory never falls again.
    for case in progress.track(cases, "warming up", len(cases)):
        case.peak_memory_mb = case.process.measure(case.batch_size, WARM_UP_S).peak_memory_mb
    _measure_rounds(cases, seconds, "measuring", progress)
    for attempt in range(1, retries + 1):
        doubtful = _doubtful(cases, seconds, judge)
        if not doubtful:
            break
        _measure_rounds(doubtful, seconds, f"measuring again ({attempt})", progress)
    return cases


def _measure_rounds(
    cases: Sequence[Case], seconds: float, what: str, progress: ProgressReporter
) -> None:
    for case in cases:
        case.attempts += 1
    turns = _turns([case for group in _groups(cases) for case in group])
    for case in progress.track(turns, what, len(turns)):
        before = read_counters()
        found = case.process.measure(case.batch_size, seconds / ROUNDS)
        case.during.append(between(before, read_counters(), found.processor_s, found.work_ms))
        case.rounds.append(found.latencies_ms)


def _turns(cases: Sequence[AnyCase]) -> list[AnyCase]:
    """Return the cases of all rounds, every other round backwards: a steady drift favours none."""
    return [case for number in range(ROUNDS) for case in cases[:: -1 if number % 2 else 1]]


def _doubtful(cases: Sequence[Case], seconds: float, judge: Judge) -> list[Case]:
    """Return the cases to measure again, those of one batch size and threads together.

    Their rounds are forgotten, unless calls that are too few are all that speaks against them.
    """
    found = []
    for group in _groups(cases):
        if any(case.last_attempt_s > MOST_TIMES_LONGER * seconds for case in group):
            continue
        kinds = {reason.kind for case in group for reason in judge(case)}
        if kinds - {"too few calls"}:
            for case in group:
                case.rounds.clear()
                case.during.clear()
        found += group if kinds else []
    return found


def _groups(cases: Sequence[Case]) -> list[list[Case]]:
    """Return the cases that are compared with each other, which are measured side by side."""
    groups: dict[tuple[int, int], list[Case]] = {}
    for case in cases:
        groups.setdefault((case.batch_size, case.process.target.threads), []).append(case)
    return list(groups.values())


def measure_after_pauses(
    cases: Sequence[Case], pauses_s: Sequence[float], progress: ProgressReporter
) -> list[CaseAfterPause]:
    """Measure calls after pauses, each target at its smallest batch size, as requests come singly.

    Each pause is measured as it is, and with the target called during it to keep it warm. All take
    turns, round by round.
    """
    smallest = {id(case.process): case for case in reversed(cases)}
    found = [
        CaseAfterPause(case.process, case.batch_size, pause_s, keep_warm)
        for pause_s in pauses_s
        for case in cases
        if smallest[id(case.process)] is case
        for keep_warm in (False, True)
    ]
    turns = _turns(found)
    for case in progress.track(turns, "measuring after pauses", len(turns)):
        case.rounds.append(
            case.process.measure_idle(
                case.batch_size, CALLS_AFTER_PAUSE, case.pause_s, keep_warm=case.keep_warm
            )
        )
    return found
