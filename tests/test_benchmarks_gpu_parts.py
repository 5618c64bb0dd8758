"""The parts of benchmarks/gpu that need torch or onnxruntime, on the processor."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import distributed

from benchmarks.gpu.job import CannotRunError, Job, job_for
from benchmarks.gpu.model_files import require_provider, verify_file
from benchmarks.gpu.onnxruntime_calls import time_onnxruntime
from benchmarks.gpu.torch_calls import time_torch
from benchmarks.gpu.training import finetune_case


@pytest.fixture
def job(tmp_path: Path, stripes: Path, exported_run_folder: Path) -> Job:
    """A job whose run is that of the other tests, at batch 1, as short as can be."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "fp32").symlink_to(exported_run_folder)
    made = job_for("cpu", tmp_path, data=stripes)
    return dataclasses.replace(made, size=64, batch_sizes=(3,), seconds=0.01, images=3)


def test_a_single_process_is_trained_through_ddp(
    tmp_path: Path, stripes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped: list[object] = []
    wrap = torch.nn.parallel.DistributedDataParallel.__init__

    def watched(self: object, *arguments: object, **options: object) -> None:
        wrapped.append(arguments)
        wrap(self, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.parallel.DistributedDataParallel, "__init__", watched)
    job = dataclasses.replace(job_for("cpu", tmp_path, data=stripes), batch_size=24)
    [row] = finetune_case(job, case="fp32 DDP", data_parallel=True)
    assert len(wrapped) == 1
    assert (row["case"], row["images"], row["epochs"]) == ("fp32 DDP", 72, 2)
    assert row["epoch_s"] > 0
    assert row["strategy"] == "full"
    assert 0 <= row["val_accuracy"] <= 1
    assert not distributed.is_initialized()


def test_bound_and_plain_runs_of_a_file_give_the_same_logits(job: Job) -> None:
    rows = list(time_onnxruntime(job))
    assert [(row["engine"], row["batch"]) for row in rows] == [
        ("onnxruntime fp32, as rtl runs it", 3),
        ("onnxruntime fp32, bound", 3),
    ]
    for row in rows:
        assert row["off_by"] < 1e-4
        assert 0 < row["call_ms"] <= row["p90_ms"]
        assert row["images_per_s"] == pytest.approx(3000 / row["call_ms"], rel=0.01)
        assert row["device_ms"] is None


def test_torch_is_timed_with_the_run_that_was_exported(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda model, **_: model)  # it takes minutes
    rows = list(time_torch(job))
    assert [row["engine"].removeprefix("torch ") for row in rows] == [
        "eager fp32",
        "eager bf16, channels last",
        "compiled bf16, channels last",
        "compiled fp32",
    ]
    assert rows[0]["off_by"] == 0.0
    assert 0 < rows[1]["off_by"] < 1


@pytest.mark.usefixtures("quickly")
def test_verification_names_the_nodes_of_the_provider(job: Job) -> None:
    rows = list(verify_file(job, precision="fp32"))
    assert all(row["passed"] for row in rows)
    sessions = [row for row in rows if row["level"] == "sessions"]
    assert sessions
    assert all(row["nodes"].keys() == {"CPUExecutionProvider"} for row in sessions)
    json.dumps(rows)


def test_a_file_that_export_did_not_keep_is_said(job: Job) -> None:
    with pytest.raises(CannotRunError, match=r"export has kept no model\.fp16\.onnx"):
        list(verify_file(job, precision="fp16"))


def test_a_provider_that_is_missing_is_said_with_the_wheel_that_brings_it() -> None:
    with pytest.raises(CannotRunError, match=r"has no CUDAExecutionProvider: hand over the wheel"):
        require_provider("cuda")
