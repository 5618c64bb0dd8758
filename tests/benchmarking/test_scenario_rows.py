"""Scenarios of a file by the command: rows, JSON, what is refused, what is left behind."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Rtl
from tests.runtime import tiny
from toolchain.benchmarking import rounds
from toolchain.benchmarking.bench import bench
from toolchain.benchmarking.processes import peak
from toolchain.errors import MissingExtraError, SettingsError

SCENARIOS = ("single-stream", "multi-stream", "offline", "server")
OPTIONS = [word for name in SCENARIOS for word in ("--scenario", name)]
WORDS = ("bench", "tiny.onnx", "--seconds", 0.2, "--threads", 1, "--retries", 0)


@pytest.fixture
def tiny_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(rounds, "WARM_UP_S", 0.0)
    monkeypatch.setattr(peak, "SECONDS", 0.05)
    return tiny.write(tiny.tiny_model(), tmp_path / "tiny.onnx")


def test_each_scenario_is_a_row_by_loadgen(rtl_here: Rtl, tiny_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlperf_loadgen", reason="the extra loadgen is not installed")
    started = time.perf_counter()
    done = rtl_here(*WORDS, *OPTIONS, "-o", "bench.json", "--require-valid", "--explain")
    took_ms = 1000 * (time.perf_counter() - started)
    found = json.loads((tmp_path / "bench.json").read_text())
    rows = found["scenarios"]
    assert [row["scenario"] for row in rows] == list(SCENARIOS)
    assert {row["target"] for row in rows} == {"tiny.onnx"}
    single, multi, offline, server = rows
    assert single["verdict"] == "VALID"  # a tiny model has queries enough
    assert (single["percentile"], multi["percentile"], offline["percentile"]) == (90, 99, None)
    assert 0 < single["latency_ms"] < took_ms
    assert 0 < multi["latency_ms"] < took_ms
    assert multi["samples"] == 8 * multi["queries"]
    assert offline["queries"] == 1
    assert offline["samples_per_s"] > 1000
    assert server["latency_bound_ms"] == 50
    assert server["rate_per_s"] > 0
    assert server["rates"][-1]["seconds"] == 0.2
    assert all(row["short_run"] for row in rows)
    # LoadGen's logs are nowhere that the user sees.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.json", "tiny.onnx"]
    assert "Scenarios of MLPerf, by MLCommons' LoadGen" in done.stdout
    assert done.stdout.count("short run, not a submission") >= 1
    assert "MLPerf's scenario of queries at random times" in done.stdout + done.stderr
    valid = found["verdict"] == "VALID"
    assert done.returncode == (0 if valid else 10), done.stderr


def test_scenarios_count_for_what_is_required(
    rtl_here: Rtl, tiny_file: Path, tmp_path: Path
) -> None:
    pytest.importorskip("mlperf_loadgen", reason="the extra loadgen is not installed")
    words = ["--scenario", "server", "--latency-bound", "1us", "-o", "bench.json", "-q"]
    done = rtl_here("bench", "tiny.onnx", "--seconds", 0.1, "--threads", 1, *words)
    assert done.returncode == 2
    assert "'1us' is no length of time" in done.stderr
    words[3] = "0.001ms"
    done = rtl_here(*WORDS, *words, "--require-valid", "--percentile", "p50")
    found = json.loads((tmp_path / "bench.json").read_text())
    [row] = found["scenarios"]
    assert (row["verdict"], row["rate_per_s"], found["verdict"]) == ("INVALID", None, "INVALID")
    assert "p99 is" in row["reasons"][0]
    assert done.returncode == 10
    assert "INVALID" in done.stderr
    assert "no rate" in done.stdout


def test_without_loadgen_the_extra_is_named_before_anything_is_measured(
    rtl_here: Rtl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    done = rtl_here("bench", "not there.onnx", "--scenario", "offline")
    assert done.returncode == 9
    assert "MLCommons' LoadGen, which --scenario needs, is not installed" in done.stderr
    assert 'pip install "rtl-toolchain[loadgen]"' in done.stderr
    with pytest.raises(MissingExtraError):
        bench([tmp_path / "not there.onnx"], scenarios=("offline",))


def test_a_bound_without_a_server_is_refused(rtl_here: Rtl) -> None:
    done = rtl_here("bench", "model.onnx", "--latency-bound", "50ms", "--scenario", "offline")
    assert (done.returncode, "--latency-bound needs --scenario server" in done.stderr) == (2, True)
    with pytest.raises(SettingsError, match=r"^latency_bound: .*server"):
        bench(["model.onnx"], scenarios=("offline",), latency_bound=0.05)


def test_loadgen_is_imported_only_when_it_is_asked_for(
    rtl_here: Rtl, tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    found = bench([tiny_file], batch_sizes=(1,), threads=(1,), seconds=0.05, retries=0)
    assert found.scenarios == []
    assert "LoadGen" not in repr(found)
