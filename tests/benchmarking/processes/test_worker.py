"""The process that a benchmark target runs in, driven by JSON lines."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from toolchain.backends.backend import open_backend
from toolchain.benchmarking.processes.targets import Target, TargetProcess
from toolchain.benchmarking.processes.worker import Measure, Open, serve
from toolchain.errors import RefusedError
from toolchain.runtime.card import Proof


def replies_to(*requests: Open | Measure) -> list[dict[str, object]]:
    lines = "".join(msgspec.json.encode(request).decode() + "\n" for request in requests)
    replies = io.StringIO()
    serve(io.StringIO(lines), replies)
    return [json.loads(line) for line in replies.getvalue().splitlines()]


def test_worker_opens_a_model_and_measures_it(model: Path) -> None:
    opened, measured = replies_to(Open(str(model), False, "cpu", 1), Measure(2, 0.0))
    proof = open_backend(model).card.proof
    assert isinstance(proof, Proof)
    found = np.frombuffer(base64.b64decode(str(opened["logits"])), "<f4").reshape(4, 3)
    np.testing.assert_allclose(found, proof.logits, rtol=1e-3, atol=1e-3)
    latencies = measured["latencies_ms"]
    assert isinstance(latencies, list)
    assert len(latencies) == 3  # however short the time
    assert min(latencies) > 0


def test_an_error_is_a_reply_and_the_next_request_is_served(model: Path, tmp_path: Path) -> None:
    failed, opened = replies_to(
        Open(str(tmp_path / "gone.onnx"), False, "cpu", 1), Open(str(model), False, "cpu", 1)
    )
    assert (failed["type"], failed["error"]) == ("Failed", "ModelFileError")
    assert "no such file" in str(failed["message"])
    assert opened["type"] == "Opened"


def test_a_reply_says_what_the_automatic_choice_took(model: Path) -> None:
    named, chosen = replies_to(
        Open(str(model), False, "cpu", 1), Open(str(model), False, "auto", 1)
    )
    assert named["choice"] is None
    assert str(chosen["choice"]).startswith("cpu: ")


def test_peak_memory_is_that_of_the_process_without_its_parent() -> None:
    code = (
        "import numpy as np; from toolchain.benchmarking.processes.memory import peak_memory_mb\n"
        "before = peak_memory_mb(); array_sum = np.ones(20_000_000).sum(); print(before)\n"
        "print(peak_memory_mb())"
    )
    memory_of_parent = np.ones(40_000_000)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = (float(line) for line in done.stdout.split())
    assert memory_of_parent.all()
    assert 10 < before < 200
    assert before + 150 < after < before + 200


def test_a_worker_that_dies_is_an_error_with_its_exit_status(model: Path) -> None:
    with TargetProcess(Target("model.onnx", model, False, "cpu", 1)) as process:
        process.open()
        process._process.kill()
        with pytest.raises(RefusedError, match=r"model\.onnx ended with status -9"):
            process.measure(1, 0.1)


def test_operations_of_an_image_are_those_that_torch_counts(model: Path, run_folder: Path) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from toolchain.runs.trained_run import TrainedRun

    run = TrainedRun.open(run_folder)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        run.classifier.eval()(torch.zeros((1, 64, 64, 3), dtype=torch.uint8))
    with TargetProcess(Target("model.onnx", model, False, "cpu", 1)) as process:
        process.open()
        assert process.flops_of_image() == counter.get_total_flops()
