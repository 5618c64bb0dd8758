"""Reads what LoadGen writes about a run: lines of JSON in `mlperf_log_detail.txt`."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import msgspec

from toolchain.benchmarking.scenarios.plan import (
    PERCENTILES,
    SAMPLES_PER_QUERY,
    LoadgenRun,
    Plan,
    Scenario,
)

MARK = ":::MLLOG "
LATENCY_KEYS: dict[Scenario, str] = {
    "single-stream": "result_90.00_percentile_latency_ns",
    "multi-stream": "result_99.00_percentile_per_query_latency_ns",
    "server": "result_99.00_percentile_latency_ns",
}
EARLY_STOPPING_KEYS: dict[Scenario, str] = {
    "single-stream": "early_stopping_latency_ss",
    "multi-stream": "early_stopping_latency_ms",
}
"""Where LoadGen has written its estimate of the percentile; `ms` is for multi-stream."""
RATE_KEYS: dict[Scenario, str] = {
    "single-stream": "result_qps_with_loadgen_overhead",
    "offline": "result_samples_per_second",
    "server": "result_completed_samples_per_sec",
}
NEEDS_MORE = re.compile(r"at least (\d+) more queries")
NEEDS = re.compile(r"at least (\d+) queries for early stopping")


def read_run(folder: Path, plan: Plan) -> LoadgenRun:
    """Return what LoadGen has written into a folder about its run."""
    said = _values(folder / "mlperf_log_detail.txt")
    scenario, queries = plan.scenario, int(said["result_query_count"])
    samples = int(said["effective_samples_per_query"]) * queries
    latency_ms = None
    if scenario in LATENCY_KEYS:
        latency_ms = said[LATENCY_KEYS[scenario]] / 1e6
    estimate_ns = said.get(EARLY_STOPPING_KEYS.get(scenario, ""), 0)
    return LoadgenRun(
        valid=said["result_validity"] == "VALID",
        reasons=_reasons(said, plan, queries, latency_ms),
        queries=queries,
        samples=samples,
        latency_ms=latency_ms,
        early_stopping_ms=estimate_ns / 1e6 if estimate_ns > 0 else None,
        samples_per_s=_samples_per_s(said, scenario),
        bound_kept=bool(said.get("result_perf_constraints_met", True)),
        long_enough=bool(said["result_min_duration_met"]),
    )


def _values(file: Path) -> dict[str, Any]:
    """Return each key of a log with its last value; what is no number is left out."""
    found = {}
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(MARK):
            with contextlib.suppress(msgspec.DecodeError):  # a rate over no time is written as nan
                entry = msgspec.json.decode(line[len(MARK) :])
                found[entry["key"]] = entry["value"]
    return found


def _samples_per_s(said: dict[str, Any], scenario: Scenario) -> float:
    if scenario == "multi-stream":
        return SAMPLES_PER_QUERY[scenario] * 1e9 / float(said["result_mean_query_latency_ns"])
    return float(said.get(RATE_KEYS[scenario], 0.0))


def _reasons(said: dict[str, Any], plan: Plan, queries: int, latency_ms: float | None) -> list[str]:
    """Return why LoadGen calls a run INVALID, in words."""
    reasons = []
    if not said.get("result_perf_constraints_met", True) and latency_ms is not None:
        bound_ms = plan.latency_bound_s * 1e3
        shown = f"{latency_ms:.3g}" if latency_ms < 1000 else f"{latency_ms:.0f}"
        reasons.append(f"p{PERCENTILES[plan.scenario]} is {shown} ms, over {bound_ms:g}")
    elif not said.get("early_stopping_met", True):
        text = str(said.get("early_stopping_result", ""))
        reasons.append(_early_stopping(text, queries, _samples_per_s(said, plan.scenario), plan))
    if not said["result_min_duration_met"]:
        reasons.append(f"its queries were done before {plan.seconds:g} s")
    if not said.get("result_min_queries_met", True):
        reasons.append(f"it has {queries} of {plan.least_queries} queries")
    if said["result_validity"] != "VALID" and not reasons:
        reasons.append(str(said.get("result_invalid_reason", "")).strip() or "LoadGen says why not")
    return reasons


def _early_stopping(text: str, queries: int, samples_per_s: float, plan: Plan) -> str:
    """Return how many queries early stopping would have accepted, and how long they take."""
    more, needed = NEEDS_MORE.search(text), NEEDS.search(text)
    if more is not None:
        count = queries + int(more[1])
    elif needed is not None:
        count = int(needed[1])
    else:
        return " ".join(text.replace("*", " ").split()) or "early stopping is not satisfied"
    reason = f"early stopping needs {count} queries, has {queries}"
    if not samples_per_s:
        return reason
    return f"{reason}; about {count * SAMPLES_PER_QUERY[plan.scenario] / samples_per_s:.1f} s of it"
