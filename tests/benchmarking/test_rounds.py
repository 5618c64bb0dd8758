"""What is INVALID is measured again: with its pairs, added to or replaced, up to a limit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from toolchain.benchmarking import rounds
from toolchain.benchmarking.figures.verdicts import Reason
from toolchain.benchmarking.processes.targets import Target, TargetProcess
from toolchain.benchmarking.processes.worker import Measured
from toolchain.benchmarking.rounds import ROUNDS, Case, measure
from toolchain.progress import SilentReporter


class Recorder:
    """Stands for a target's process; its calls take as many ms as calls were asked for before."""

    def __init__(self, name: str, threads: int = 1, slowness_ms: float = 0.0) -> None:
        self.slowness_ms = slowness_ms
        self.target = Target(name, Path(name), False, "cpu", threads)
        self.asked: list[int] = []
        self.log: list[str] = []

    def measure(self, batch_size: int, seconds: float) -> Measured:
        if seconds:
            self.asked.append(batch_size)
            self.log.append(f"{self.target.name} {batch_size}")
        return Measured([len(self.asked) + self.slowness_ms], 100.0, 0.01, 0.1)


def run(
    plan: Sequence[tuple[Recorder, Sequence[int]]], reasons: dict[str, list[Any]], retries: int = 2
) -> list[Case]:
    """Measure; `reasons` are those against the cases of a target after each of its attempts."""

    def judge(case: Case) -> list[Reason]:
        kinds = reasons.get(f"{case.process.target.name} {case.batch_size}", [])
        kind = kinds[case.attempts - 1] if case.attempts <= len(kinds) else None
        return [] if kind is None else [Reason(kind, "why")]

    processes = [(cast(TargetProcess, recorder), sizes) for recorder, sizes in plan]
    return measure(processes, 1.0, judge, retries, SilentReporter())


@pytest.fixture(autouse=True)
def no_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "WARM_UP_S", 0.0)


def test_what_is_valid_is_measured_once_in_turns_pairs_side_by_side() -> None:
    first, other = Recorder("a"), Recorder("b")
    other.log = first.log
    cases = run([(first, [1, 8]), (other, [1, 8])], {})
    forward = ["a 1", "b 1", "a 8", "b 8"]
    # Backwards every other time, so that none is always the one that comes later.
    assert first.log == [*forward, *forward[::-1]] * (ROUNDS // 2) + forward
    assert [(len(case.rounds), case.attempts) for case in cases] == [(ROUNDS, 1)] * 4


def test_a_disturbed_case_is_replaced_with_the_cases_of_its_batch_and_threads() -> None:
    first, other, threaded = Recorder("a"), Recorder("b"), Recorder("a", threads=2)
    cases = run([(first, [1, 8]), (other, [1]), (threaded, [1])], {"b 1": ["unstable"]})
    by_name = {(c.process.target.name, c.process.target.threads, c.batch_size): c for c in cases}
    assert by_name["a", 1, 1].attempts == by_name["b", 1, 1].attempts == 2
    assert by_name["a", 1, 8].attempts == by_name["a", 2, 1].attempts == 1
    # The rounds of the second attempt alone, and what the machine did in these.
    assert by_name["b", 1, 1].rounds == [[6.0], [7.0], [8.0], [9.0], [10.0]]
    conditions = by_name["b", 1, 1].conditions
    assert conditions is not None
    assert len(conditions.work_ms) == ROUNDS


def test_calls_that_are_too_few_are_added_to() -> None:
    cases = run([(Recorder("a"), [1])], {"a 1": ["too few calls", "too few calls"]})
    assert (len(cases[0].rounds), cases[0].attempts) == (3 * ROUNDS, 3)


def test_what_stays_invalid_keeps_the_rounds_of_the_last_attempt() -> None:
    cases = run([(Recorder("a"), [1])], {"a 1": ["machine busy"] * 9}, retries=1)
    assert (len(cases[0].rounds), cases[0].attempts) == (ROUNDS, 2)
    assert cases[0].rounds[0] == [6.0]


def test_calls_that_are_very_slow_are_not_made_again() -> None:
    slow, other = Recorder("a", slowness_ms=1000.0), Recorder("b")
    cases = run([(slow, [1]), (other, [1])], {"a 1": ["unstable"], "b 1": ["unstable"]})
    assert [case.attempts for case in cases] == [1, 1]  # its pair is not either


def test_without_retries_nothing_is_measured_again() -> None:
    cases = run([(Recorder("a"), [1])], {"a 1": ["unstable"]}, retries=0)
    assert (len(cases[0].rounds), cases[0].attempts) == (ROUNDS, 1)
