"""Each command once, as a user runs it: what it prints where, and what it leaves."""

from __future__ import annotations

import json
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


def test_finetune_to_predict_by_pasting_what_each_command_prints_next(
    rtl_here: Rtl, stripes: Path, tmp_path: Path
) -> None:
    quick = ("--weights", "none", "--size", "32", "--epochs", "1", "--strategy", "full")
    done = rtl_here("finetune", stripes, *quick, "-o", "run", "--workers", "0")
    followed = []
    for _ in range(5):
        assert done.returncode == 0, done.stderr
        line = done.stderr.splitlines()[-1]
        assert line.startswith("next: rtl ")
        words = line.removeprefix("next: rtl ").split()
        followed.append(words[0])
        done = rtl_here(*words, *(("--seconds", "0.2") if words[0] == "bench" else ()))
    assert followed == ["evaluate", "export", "verify", "bench", "inspect"]
    assert (tmp_path / "run" / "export" / "model.onnx").is_file()


def test_results_go_to_standard_output_and_all_else_to_standard_error(
    rtl: Rtl, model: Path
) -> None:
    done = rtl("inspect", model, "--json")
    card = json.loads(done.stdout)["card"]
    assert card["classes"] == ["across", "aslant", "down"]
    assert done.stderr.startswith("next: ")
    assert rtl("inspect", model, "--json", "--quiet").stderr == ""


def test_evaluate_json_has_the_words_of_the_field(rtl_here: Rtl, run_folder: Path) -> None:
    result = json.loads(rtl_here("evaluate", run_folder, "--json").stdout)
    assert {"accuracy", "accuracy_interval", "macro_f1", "per_class", "version"} <= set(result)
    assert {"label", "precision", "recall", "f1", "images"} == set(result["per_class"][0])


def test_predict_says_what_evaluate_saw(
    rtl_here: Rtl, run_folder: Path, model: Path, stripes: Path
) -> None:
    seen = json.loads((run_folder / "evaluation.json").read_text())["results"]
    done = rtl_here("predict", model, stripes / "val")
    said = {row["file"]: row["label"] for row in map(json.loads, done.stdout.splitlines())}
    assert said == {str(stripes / item["file"]): item["predicted"] for item in seen}


def test_data_check_reports_and_writes_nothing(rtl_here: Rtl, stripes: Path) -> None:
    result = json.loads(rtl_here("data", "check", stripes, "--json").stdout)
    assert result["images"] == 72
    assert result["unreadable"] == []


def test_doctor_knows_the_torchvision_trap(rtl_here: Rtl) -> None:
    checks = json.loads(rtl_here("doctor", "--json").stdout)["checks"]
    assert {"machine", "onnxruntime", "providers", "training"} <= {c["what"] for c in checks}
    assert all(check["state"] != "problem" for check in checks)
