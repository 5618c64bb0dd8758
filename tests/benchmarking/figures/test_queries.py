"""How many calls a percentile needs, by MLPerf's rules."""

from __future__ import annotations

import math

import pytest

from toolchain.benchmarking.figures.queries import calls_for_margin, calls_needed, lacking_calls


@pytest.mark.parametrize(
    ("share", "over", "calls"),
    [(0.99, 0, 459), (0.99, 1, 662), (0.90, 0, 44), (0.95, 0, 90), (0.5, 0, 7)],
)
def test_calls_with_so_many_over_are_those_of_mlperf(share: float, over: int, calls: int) -> None:
    assert calls_needed(share, over) == calls


def test_one_call_less_would_pass_by_luck_too_often() -> None:
    assert 0.99**459 <= 0.01 < 0.99**458
    assert calls_needed(0.99, confidence=0.95) == math.ceil(math.log(0.05) / math.log(0.99))


@pytest.mark.parametrize(
    ("share", "published"), [(0.90, 23_886), (0.95, 50_425), (0.97, 85_811), (0.99, 262_742)]
)
def test_calls_for_a_margin_are_those_of_the_paper(share: float, published: int) -> None:
    assert calls_for_margin(share) == published


def test_fewer_calls_than_needed_are_named() -> None:
    assert lacking_calls(459) == []
    assert lacking_calls(458) == ["p99 needs 459 calls, has 458"]
    assert lacking_calls(6) == [
        "p50 needs 7 calls, has 6",
        "p90 needs 44 calls, has 6",
        "p99 needs 459 calls, has 6",
    ]
