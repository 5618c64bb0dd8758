"""`rtl report` of what was measured: which model's it is, and what its figures are worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.benchmarking.test_comparison import benchmark, case
from tests.reporting.made_run import CLASSES, made_run, page_of
from toolchain.benchmarking.figures.queries import lacking_calls
from toolchain.benchmarking.figures.verdicts import Reason
from toolchain.benchmarking.rows import ComparedModel, PauseResult
from toolchain.benchmarking.scenario_rows import ScenarioResult
from toolchain.errors import DataError
from toolchain.files import write_json
from toolchain.reporting.report import report
from toolchain.runs.runfolder import RunFolder
from toolchain.runtime.card import Weights


def compared_model(target: str, model: str, weights_sha256: str) -> ComparedModel:
    return ComparedModel(
        target=target,
        model=model,
        architecture="resnet18",
        precision="fp32",
        input="pixels",
        batch=None,
        classes=3,
        image_size=64,
        accuracy=None,
        accuracy_images=None,
        accuracy_split=None,
        relation="first",
        compared_inputs=0,
        max_difference=None,
        other_labels=None,
        weights_sha256=weights_sha256,
    )


def test_a_benchmark_of_another_model_is_not_shown_as_this_ones(
    tmp_path: Path, data: Path, names: list[str], run: RunFolder
) -> None:
    other = made_run(tmp_path / "other", data, CLASSES, names, seed=1)
    card = other.read_card()
    other.write_card(
        msgspec.structs.replace(card, weights=Weights(card.weights.origin, sha256="1" * 64))
    )
    own, foreign = tmp_path / "own.json", tmp_path / "foreign.json"
    for file, of in ((own, run), (foreign, other)):
        weights = of.read_card().weights.sha256
        model = compared_model("model.onnx", f"{of.path}/model.onnx", weights)
        write_json(file, benchmark(case([[2.0] * 20] * 5), models=[model]))
    with pytest.raises(DataError, match=r"foreign\.json has measured other models") as caught:
        report([run.path], bench=[own, foreign])
    assert str(caught.value.hint) == f"rtl bench {run.path} measures it"
    report([run.path], bench=[own])
    assert "Nothing was measured yet" not in page_of(run)
    report([run.path, other.path], bench=[own, foreign])


def test_a_benchmark_of_an_older_rtl_is_shown(run: RunFolder, tmp_path: Path) -> None:
    machine = {
        "processor": "A processor", "cores": 2, "instructions": [], "memory_gb": 4.0,
        "system": "Linux x86_64", "python": "3.11.7", "versions": {"onnxruntime": "1.18.0"},
    }  # fmt: skip
    row = {
        "target": "model.onnx", "model": "export/model.onnx", "provider": "cpu", "threads": 2,
        "batch_size": 1, "verdict": "stable", "p50_ms": 7.25, "p90_ms": 8.0, "p99_ms": 9.0,
        "images_per_s": 138.0,
    }  # fmt: skip
    eager = {**row, "target": "torch eager", "model": str(run.path), "p50_ms": 3.0}
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps({"verdict": "stable", "machine": machine, "results": [row, eager]}))
    report([run.path], bench=[kept])
    assert '<p class="value ">7.2 ms</p>' in page_of(run)  # of the file, not of torch
    assert "A processor, 2 cores" in page_of(run)


def test_figures_that_do_not_count_are_marked_with_the_reason(
    run: RunFolder, tmp_path: Path
) -> None:
    reason = Reason("machine busy", "other programs took 1.5 of 2 cores")
    row = case([[7.0] * 40] * 5, reasons=[reason], lacking_calls=lacking_calls(200), p99_ms=9.25)
    write_json(tmp_path / "kept.json", benchmark(row))
    report([run.path], bench=[tmp_path / "kept.json"])
    assert "a rough figure, machine busy: other programs took 1.5 of 2 cores" in page_of(run)
    assert "* model.onnx at batch 1: machine busy" in page_of(run)
    assert "~9.2</td>" in page_of(run)


def test_a_reason_says_which_row_it_is_of(run: RunFolder, tmp_path: Path) -> None:
    reason = Reason("machine busy", "other programs took 1.5 of 2 cores")
    rows = [case([[7.0] * 40] * 5, reasons=[reason], spin=spin) for spin in (False, True)]
    write_json(tmp_path / "kept.json", benchmark(*rows))
    report([run.path], bench=[tmp_path / "kept.json"])
    assert "* model.onnx at batch 1, threads 1: machine busy" in page_of(run)
    assert "* model.onnx at batch 1, threads 1 spin: machine busy" in page_of(run)


def test_the_speed_of_a_run_is_not_that_of_another_model_beside_it(
    run: RunFolder, tmp_path: Path
) -> None:
    own = case([[7.0] * 40] * 5, spin=True)
    other = case([[2.0] * 40] * 5, target="old.onnx", model="old.onnx")
    models = [
        compared_model("model.onnx", "model.onnx", run.read_card().weights.sha256),
        compared_model("old.onnx", "old.onnx", "1" * 64),
    ]
    write_json(tmp_path / "kept.json", benchmark(own, other, models=models))
    report([run.path], bench=[tmp_path / "kept.json"])
    assert '<p class="value ">7.0 ms</p>' in page_of(run)
    assert "model.onnx, 1 thread, spin" in page_of(run)


SCENARIO = ScenarioResult(
    target="model.onnx",
    provider="cpu",
    threads=1,
    batch_size=1,
    scenario="server",
    verdict="INVALID",
    reasons=["the bound was not kept"],
    seconds=3.0,
    queries=120,
    samples=120,
    percentile=99,
    latency_ms=61.0,
    early_stopping_latency_ms=None,
    samples_per_s=20.0,
    short_run=True,
    official_queries=270_336,
    latency_bound_ms=50.0,
    rate_per_s=18.0,
)


def test_pauses_and_scenarios_are_in_the_page(run: RunFolder, tmp_path: Path) -> None:
    row = case([[7.0] * 40] * 5, spin=True)
    same: dict[str, Any] = {
        "target": row.target,
        "provider": "cpu",
        "threads": 1,
        "spin": True,
        "batch_size": 1,
    }
    idle: dict[str, Any] = {"pause_s": 1.0, "calls": 10, "p50_interval_ms": (8.0, 9.0)}
    pauses = [
        PauseResult(**same, **idle, keep_warm=False, p50_ms=12.5, ratio_to_back_to_back=1.79),
        PauseResult(**same, **idle, keep_warm=True, p50_ms=7.5, ratio_to_back_to_back=1.07),
    ]
    write_json(tmp_path / "kept.json", benchmark(row, pauses=pauses, scenarios=[SCENARIO]))
    report([run.path], bench=[tmp_path / "kept.json"])
    page = page_of(run)
    assert "<td>idle</td>" in page
    assert page.count('<td class="number">1 spin</td>') == 3  # in both tables
    assert "<td>called to keep warm</td>" in page
    assert "Scenarios of MLPerf, by MLCommons" in page
    assert "<td>18.0 queries/s; p99 61.0 ms</td><td>INVALID</td>" in page
    assert "the bound was not kept; bound 50 ms; short run, not a submission" in page
