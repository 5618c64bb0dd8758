"""When the figures of a case are VALID, and each reason why not."""

from __future__ import annotations

from typing import Any

import pytest

from toolchain.benchmarking.figures.conditions import Conditions
from toolchain.benchmarking.figures.verdicts import Percentile, reasons_against, verdict_of
from toolchain.runtime.cores import usable_cores

QUIET = Conditions(3.0, 0.01, 0.0, 0, None, (0.10, 0.101, 0.102, 0.10, 0.10))


def rounds(*medians: float, calls: int = 45) -> list[list[float]]:
    """Return rounds with these medians."""
    share = calls // len(medians)
    return [[median] * share for median in medians]


def kinds(
    *medians: float,
    conditions: Conditions = QUIET,
    calls: int = 45,
    wanted: Percentile = "p90",
    busy: int = 0,
) -> list[str]:
    found = reasons_against(rounds(*medians, calls=calls), conditions, wanted, busy=busy)
    return [reason.kind for reason in found]


def during(**changed: Any) -> Conditions:
    return Conditions(**{**vars(QUIET), **changed})


@pytest.mark.parametrize(
    ("medians", "expected"),
    [
        ([10.0, 10.0, 10.0, 10.0, 10.0], []),
        ([10.0, 10.9, 10.5, 10.2, 10.0], []),
        ([10.0, 10.0, 10.0, 10.0, 11.2], ["unstable"]),
        ([10.0, 10.0, 14.0, 12.0, 10.0], ["unstable"]),
        ([90.0, 30.0, 10.0, 10.5, 10.9], ["unstable"]),  # the first rounds are in the figures too
        ([10.0, 10.0], ["unstable"]),  # too few rounds to tell
    ],
)
def test_a_case_is_stable_where_the_medians_of_its_rounds_agree(
    medians: list[float], expected: list[str]
) -> None:
    assert kinds(*medians) == expected
    assert verdict_of(reasons_against(rounds(*medians), QUIET, "p90")) == (
        "INVALID" if expected else "VALID"
    )


def test_the_wanted_percentile_has_to_have_enough_calls() -> None:
    assert kinds(*[10.0] * 5, calls=40) == ["too few calls"]
    assert kinds(*[10.0] * 5, calls=40, wanted="p50") == []
    assert kinds(*[10.0] * 5, calls=400, wanted="p99") == ["too few calls"]
    assert kinds(*[10.0] * 5, calls=460, wanted="p99") == []
    reason = reasons_against(rounds(*[10.0] * 5, calls=40), None, "p90")[0]
    assert reason.detail == "p90 needs 44 calls, has 40; about 0.4 s of it"


def test_other_programs_make_the_machine_busy() -> None:
    loaded = during(others_s=3.0 * 0.06 * usable_cores())
    assert kinds(*[10.0] * 5, conditions=loaded) == ["machine busy"]
    assert kinds(*[10.0] * 5, conditions=loaded, busy=1) == []  # on purpose
    assert kinds(*[10.0] * 5, conditions=during(others_s=0.1)) == []
    assert kinds(*[10.0] * 5, conditions=during(others_s=None)) == []
    assert kinds(*[10.0] * 5, conditions=during(others_s=1.0, seconds=0.2)) == []  # too coarse


def test_limits_heat_and_a_slower_processor_are_throttling() -> None:
    assert kinds(*[10.0] * 5, conditions=during(quota_s=0.1)) == ["throttled"]
    assert kinds(*[10.0] * 5, conditions=during(too_hot=2)) == ["throttled"]
    slower = during(work_ms=(0.10, 0.10, 0.12))
    assert kinds(*[10.0] * 5, conditions=slower) == ["throttled"]
    assert kinds(*[10.0] * 5, conditions=slower, busy=2) == []


@pytest.mark.parametrize(
    ("medians", "shown"),
    [((0.018, 0.043), "0.018 to 0.043 ms"), ((1316.2, 2610.0), "1316 to 2610 ms")],
)
def test_what_is_unstable_is_said_in_milliseconds(medians: tuple[float, float], shown: str) -> None:
    reason = reasons_against(rounds(*medians, medians[0]), None, "p50")[0]
    assert reason.detail == f"medians of its rounds are {shown}"
