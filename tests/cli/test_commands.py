"""Each command once, as a user runs it: what it prints to which stream, and what it writes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.conftest import Rtl
from toolchain.cli.main import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_an_example(rtl: Rtl, name: str) -> None:
    words = ("data", "check") if name == "data" else (name,)
    done = rtl(*words, "--help")
    assert done.returncode == 0
    assert f"rtl {' '.join(words)}" in done.stdout.split("Usage:")[1].split("\n", 1)[1] or (
        name == "doctor"
    )


def test_each_command_prints_the_next_one_ready_to_run(
    rtl_here: Rtl, stripes: Path, tmp_path: Path
) -> None:
    quick = ("--weights", "none", "--size", "32", "--epochs", "1", "--strategy", "full")
    done = rtl_here("finetune", stripes, *quick, "-o", "my run", "--workers", "0")
    commands = []
    for _ in range(5):
        assert done.returncode == 0, done.stderr
        steps = [line for line in done.stderr.splitlines() if line.startswith("next: ")]
        assert done.stderr.splitlines()[-len(steps) :] == steps
        program, *words = shlex.split(steps[0].removeprefix("next: "))
        assert program == "rtl"
        commands.append(words[0])
        done = rtl_here(*words, *(("--seconds", "0.2") if words[0] == "bench" else ()))
    assert commands == ["evaluate", "export", "predict", "inspect", "verify"]
    assert (tmp_path / "my run" / "export" / "model.onnx").is_file()


def test_results_go_to_standard_output_and_everything_else_to_standard_error(
    rtl: Rtl, model: Path
) -> None:
    done = rtl("inspect", model, "--json")
    card = json.loads(done.stdout)["card"]
    assert card["classes"] == ["across", "aslant", "down"]
    assert done.stderr.startswith("next: ")
    assert rtl("inspect", model, "--json", "--quiet").stderr == ""


def test_evaluate_json_has_its_documented_keys(rtl_here: Rtl, run_folder: Path) -> None:
    result = json.loads(rtl_here("evaluate", run_folder, "--json").stdout)
    assert {"accuracy", "accuracy_interval", "macro_f1", "per_class", "version"} <= set(result)
    assert {"label", "precision", "recall", "f1", "images"} == set(result["per_class"][0])


def test_predict_and_evaluate_agree_on_every_label(
    rtl_here: Rtl, run_folder: Path, model: Path, stripes: Path
) -> None:
    evaluated = json.loads((run_folder / "evaluation.json").read_text())["results"]
    done = rtl_here("predict", model, stripes / "val")
    predicted = {row["file"]: row["label"] for row in map(json.loads, done.stdout.splitlines())}
    assert predicted == {str(stripes / item["file"]): item["predicted"] for item in evaluated}


def test_data_check_reports_and_writes_nothing(rtl_here: Rtl, stripes: Path) -> None:
    result = json.loads(rtl_here("data", "check", stripes, "--json").stdout)
    assert result["images"] == 72
    assert result["unreadable"] == []


def test_doctor_finds_no_problem_in_the_test_environment(rtl_here: Rtl) -> None:
    report = json.loads(rtl_here("doctor", "--json").stdout)
    assert list(report) == ["version", "checks"]
    checks = report["checks"]
    assert {"machine", "onnxruntime", "providers", "training"} <= {c["what"] for c in checks}
    assert all(check["state"] != "problem" for check in checks)
