"""benchmarks/gpu: the table of its parts, and that none keeps the others from running."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.__main__ import main
from benchmarks.gpu.job import Job, job_for
from benchmarks.gpu.parts import PARTS, Part
from benchmarks.gpu.processes import Outcome, run_parts
from benchmarks.gpu.tables import MAKERS, part_line, tables
from benchmarks.gpu.wheels import WheelsError, install_wheels
from tests.conftest import ROOT
from toolchain.runs.settings_file import read_settings

LIMIT_S = 600


def part(function: str, share: float = 1, **options: Any) -> Part:
    return Part(function, "test", share, f"tests.gpu_parts:{function}", **options)


def outcomes(
    folder: Path, *parts: Part, limit_s: float = LIMIT_S, site: Path | None = None
) -> list[Outcome]:
    job = job_for("cpu", folder)
    return list(run_parts(parts, job, limit_s=limit_s, site=site))


def definition(part: Part) -> ast.FunctionDef:
    """Return the function of a part as it stands in its file, which may import torch."""
    module, _, name = part.function.partition(":")
    found = importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    body = ast.parse(Path(found.origin).read_text()).body
    [function] = (one for one in body if isinstance(one, ast.FunctionDef) and one.name == name)
    return function


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_each_part_is_a_function_that_takes_its_arguments(part: Part) -> None:
    arguments = definition(part).args
    assert [argument.arg for argument in arguments.args] == ["job"]
    assert part.arguments.keys() <= {argument.arg for argument in arguments.kwonlyargs}


def test_the_parts_are_what_the_script_promises() -> None:
    names = [part.name for part in PARTS]
    assert len(set(names)) == len(names)
    assert names[:3] == ["machine", "data", "finetune fp32"]
    for wanted in ("bf16", "fp16", "channels-last", "compiled", "DDP", "export", "verify fp16"):
        assert any(wanted in name for name in names), wanted
    assert {part.table for part in PARTS} == MAKERS.keys()


def test_settings_of_the_trainings_are_settings_of_rtl() -> None:
    given = [part.arguments["settings"] for part in PARTS if "settings" in part.arguments]
    assert len(given) == 4
    for settings in given:
        read_settings(None, {"data": "photos", "strategy": "full", "weights": "none", **settings})


@pytest.mark.parametrize(
    ("function", "status", "reason"),
    [
        ("lacking", "skipped", "the wheel of abacus is missing"),
        ("wrong", "failed", "2 of 3 levels failed"),
        ("raising", "failed", "ValueError: an error"),
        ("killed", "failed", "its process was killed: Killed"),
    ],
)
def test_a_part_that_does_not_get_through_does_not_stop_the_others(
    tmp_path: Path, function: str, status: str, reason: str
) -> None:
    found, after = outcomes(tmp_path, part(function), part("good", arguments={"value": 7}))
    assert (found.status, found.reason) == (status, reason)
    assert found.rows == ([] if function == "lacking" else [{"value": 1}])
    assert (after.status, after.rows) == ("done", [{"device": "cpu", "value": 7}])


def test_what_a_failed_part_printed_is_kept(tmp_path: Path) -> None:
    [found] = outcomes(tmp_path, part("raising"))
    assert found.log[0] == "Traceback (most recent call last):"
    assert found.log[-2:] == ["ValueError: an error", "of two lines"]


def test_a_part_that_overruns_its_share_is_stopped_with_what_it_started(tmp_path: Path) -> None:
    started = time.monotonic()
    found, after = outcomes(tmp_path, part("slow"), part("good"), limit_s=6)
    assert time.monotonic() - started < 12
    assert (found.status, found.rows) == ("stopped", [{"value": 1}])
    assert found.reason == "it took more than its 3 s"
    assert after.status == "done"
    assert not is_alive(int((tmp_path / "sleeping").read_text()))


def is_alive(process: int) -> bool:
    """Return whether a process is there and has not ended; one that nobody waits for has."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_time_that_a_part_does_not_use_goes_to_those_after_it(tmp_path: Path) -> None:
    first, second = outcomes(tmp_path, part("good", share=3), part("good", share=1), limit_s=100)
    assert first.allowed_s == pytest.approx(75, abs=1)
    assert second.allowed_s > 60


def test_a_module_that_is_missing_is_named(tmp_path: Path) -> None:
    [found] = outcomes(tmp_path, part("good", needs=("json", "abacus", "slide_rule")))
    assert found.status == "skipped"
    assert found.reason.startswith("not installed: abacus, slide_rule (--wheels")


def write_wheel(folder: Path) -> Path:
    """Write a wheel of one module, abacus."""
    folder.mkdir()
    path = folder / "abacus-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("abacus.py", "VALUE = 5\n")
        info = "abacus-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: abacus\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def test_wheels_that_are_handed_over_are_used_by_the_parts_alone(tmp_path: Path) -> None:
    wheel, site = write_wheel(tmp_path / "wheels"), tmp_path / "site"
    assert install_wheels(wheel.parent, site) == [wheel.name]
    [found] = outcomes(tmp_path, part("abacus", needs=("abacus",)), site=site)
    assert (found.status, found.rows) == ("done", [{"value": 5}])
    assert importlib.util.find_spec("abacus") is None


def test_a_folder_without_wheels_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WheelsError, match=r"holds no wheel"):
        install_wheels(tmp_path, tmp_path / "site")
    assert main(["--wheels", str(tmp_path)], parts=[]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path} holds no wheel (*.whl)\n"


@pytest.mark.parametrize(("function", "status"), [("good", 0), ("lacking", 0), ("wrong", 1)])
def test_the_exit_status_tells_whether_a_part_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], function: str, status: int
) -> None:
    output = tmp_path / "gpu.json"
    arguments = ["--device", "cpu", "--output", str(output)]
    assert main(arguments, parts=[part(function), part("good")]) == status
    record = json.loads(output.read_text())
    assert (record["version"], record["device"], record["wheels"]) == (1, "cpu", [])
    assert [one["name"] for one in record["parts"]] == [function, "good"]
    assert record["parts"][1]["status"] == "done"
    assert "wheels: none given" in capsys.readouterr().out


ROWS: dict[str, list[dict[str, Any]]] = {
    "machine": [
        {
            "platform": "Linux",
            "python": "3.11.7",
            "machine": {"text": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz, 16 cores, 128 GB"},
            "torch": {"version": "2.13.0", "cuda": "13.0", "cudnn": 91002, "gpu": "NVIDIA H100"},
            "onnxruntime": {
                "version": "1.31.1",
                "providers": ["TensorrtExecutionProvider", "CUDAExecutionProvider"],
            },
            "nvidia_smi": {"driver_version": "580.159.04"},
        }
    ],
    "data": [{"images": 1800, "data": "drawn by rtl: parts of six classes"}],
    "training": [
        {"case": "fp32", "strategy": "full", "first_epoch_s": 4.0, "epoch_s": 3.0}
        | {"val_accuracy": 0.5, "peak_gpu_mb": 12000},
        {"case": "bf16 channels-last compiled", "strategy": "full", "first_epoch_s": 99.0}
        | {"epoch_s": 1.5, "val_accuracy": 1.0, "peak_gpu_mb": None},
        {"case": "bf16 channels-last compiled", "strategy": "head", "first_epoch_s": 9.0}
        | {"epoch_s": 0.01, "val_accuracy": 1.0, "peak_gpu_mb": None},
    ],
    "files": [
        {"file": "model.onnx", "bytes": 94_000_000, "refused": None},
        {"file": "model.fp16.onnx", "bytes": None, "refused": "fp16 is refused: " + "x " * 60},
    ],
    "verification": [
        {"file": "model.onnx", "level": "numbers", "against": "card", "passed": True},
        {"file": "model.onnx", "level": "sessions", "against": "card", "passed": False}
        | {"summary": "34 sessions, off by 0.003; 122 nodes on cuda", "use_tf32": "1"},
    ],
    "inference": [
        {"engine": "torch eager fp32, TF32", "batch": 128, "call_ms": 6.0, "device_ms": 5.9}
        | {"images_per_s": 21000.0, "off_by": 0.0},
        {"engine": "onnxruntime fp32, bound, no TF32", "batch": 128, "call_ms": 3.0}
        | {"device_ms": None, "images_per_s": 42000.0, "off_by": 1.5e-6},
    ],
}


def test_tables_are_80_columns_wide_and_compare_with_the_baseline() -> None:
    found = [Outcome(Part(k, k, 1, ""), "done", "", 1.0, 2.0, rows) for k, rows in ROWS.items()]
    lines = tables(found).splitlines()
    assert max(map(len, lines)) <= 80
    compiled, head = (line for line in lines if line.startswith("bf16 channels-last compiled"))
    assert compiled.split()[-4:] == ["1.500", "2.00", "100.0%", "–"]
    assert head.split()[-5:] == ["9.00", "0.010", "–", "100.0%", "–"], "it is another strategy"
    [bound] = (line for line in lines if line.startswith("onnxruntime fp32, bound"))
    assert bound.split()[-5:] == ["3.00", "–", "42000", "2.00", "2e-06"]
    assert any("use_tf32 1" in line for line in lines)


def test_the_script_starts_where_no_package_is_installed() -> None:
    without_packages = [sys.executable, "-S", "-m", "benchmarks.gpu", "--help"]
    done = subprocess.run(
        without_packages, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "--wheels" in done.stdout


def test_a_reason_stands_below_the_part_it_belongs_to() -> None:
    shown = part_line(Outcome(part("good"), "skipped", "word " * 30, 1.0, 2.0))
    first, *rest = shown.splitlines()
    assert first.split() == ["good", "skipped", "1.0", "s"]
    assert len(rest) == 2
    assert max(map(len, rest)) <= 80


def test_a_job_survives_the_way_to_the_process_of_a_part(tmp_path: Path) -> None:
    from benchmarks.gpu.job import read_job

    job: Job = job_for("cuda", tmp_path, weights=tmp_path / "weights.pth")
    job.write(tmp_path / "job.json")
    assert read_job(tmp_path / "job.json") == job
    assert job.arch == "auto"
    assert os.fspath(job.run("bf16 channels-last").name) == "bf16-channels-last"
