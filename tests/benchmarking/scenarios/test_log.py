"""What is read of the log that LoadGen writes, and how it says why a run does not count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from toolchain.benchmarking.scenarios.log import read_run
from toolchain.benchmarking.scenarios.plan import LoadgenRun, Plan

SERVER: dict[str, Any] = {
    "effective_samples_per_query": 1,
    "result_validity": "VALID",
    "result_perf_constraints_met": True,
    "result_min_duration_met": True,
    "result_min_queries_met": True,
    "early_stopping_met": True,
    "early_stopping_result": " * Run successful.",
    "result_query_count": 500,
    "result_completed_samples_per_sec": 49.5,
    "result_99.00_percentile_latency_ns": 41_000_000,
}
"""The keys of LoadGen 6.0 for a run that counts."""
PLAN = Plan(scenario="server", seconds=10, latency_bound_s=0.05)


def read(folder: Path, **changes: Any) -> LoadgenRun:
    lines = [
        ":::MLLOG " + json.dumps({"key": key, "value": value, "time_ms": 0.1, "metadata": {}})
        for key, value in (SERVER | changes).items()
    ]
    file = folder / "mlperf_log_detail.txt"
    file.write_text("\n".join(["no line of it", *lines]), encoding="utf-8")
    return read_run(folder, PLAN)


def test_a_run_that_counts_has_its_figures_and_no_reason(tmp_path: Path) -> None:
    found = read(tmp_path)
    assert (found.valid, found.reasons, found.bound_kept) == (True, [], True)
    assert (found.queries, found.samples, found.latency_ms) == (500, 500, 41.0)
    assert (found.samples_per_s, found.early_stopping_ms) == (49.5, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"result_perf_constraints_met": False, "result_99.00_percentile_latency_ns": 61_200_000,
             "early_stopping_met": False},
            "p99 is 61.2 ms, over 50",
        ),
        (
            {"early_stopping_met": False,
             "early_stopping_result": " * Run unsuccessful.  * Processed 500 queries.  * Would "
             "need to run at least 162 more queries,  with the run being successful if every"},
            "early stopping needs 662 queries, has 500; about 13.4 s of it",
        ),
        (
            {"early_stopping_met": False, "early_stopping_result": " * Other\n words."},
            "Other words.",
        ),
        ({"result_min_duration_met": False}, "its queries were done before 10 s"),
        ({"result_min_queries_met": False}, "it has 500 of 1 queries"),
        (
            {"result_perf_constraints_met": False,
             "result_99.00_percentile_latency_ns": 1_963_053_519},
            "p99 is 1963 ms, over 50",
        ),
        ({"result_invalid_reason": "Something else. "}, "Something else."),
    ],
)  # fmt: skip
def test_why_a_run_does_not_count_is_said_once(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    found = read(tmp_path, result_validity="INVALID", **changes)
    assert (found.valid, found.reasons) == (False, [reason])


def test_a_rate_over_no_time_is_no_figure(tmp_path: Path) -> None:
    # LoadGen writes nan there, which is no JSON.
    found = read(tmp_path, **{"result_completed_samples_per_sec": float("nan")})
    assert found.samples_per_s == 0.0
    lacking = {"early_stopping_result": "Need to process at least 64 queries for early stopping."}
    found = read(tmp_path, early_stopping_met=False, result_validity="INVALID",
                 **{"result_completed_samples_per_sec": float("nan")}, **lacking)  # fmt: skip
    assert found.reasons == ["early stopping needs 64 queries, has 500"]


def test_a_log_of_another_loadgen_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "mlperf_log_detail.txt").write_text(":::MLLOG {}\n")
    with pytest.raises(KeyError):
        read_run(tmp_path, PLAN)
