"""The device: the wheel with the extra `cpu`, a model file, its two companions and images."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.environments import Environment

pytestmark = pytest.mark.environment

INSTALL = 'hint: pip install "rtl-toolchain[train]"'


@pytest.fixture(scope="module")
def pocket(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what is copied to the device: model.onnx, what lies beside it, TorchScript."""
    folder = tmp_path_factory.mktemp("pocket")
    names = ("", ".references.npz", ".parity.json")
    for file in (*(model.with_name(model.name + name) for name in names), torchscript(model)):
        shutil.copy(file, folder)
    return folder


def torchscript(model: Path) -> Path:
    return model.with_name("model.torchscript.pt")


def test_the_wheel_is_small_and_typed_and_holds_no_tests(device: Environment) -> None:
    names = zipfile.ZipFile(device.wheel).namelist()
    # All of rtl, training included, in a download that nobody notices.
    assert device.wheel.stat().st_size < 300_000
    assert "toolchain/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert [name for name in names if not name.startswith(("toolchain/", "rtl_toolchain-"))] == []
    assert [name for name in names if "test_" in name or "conftest" in name] == []


def test_neither_torch_nor_onnx_is_installed(device: Environment, tmp_path: Path) -> None:
    found = device.run("python", "-m", "pip", "list", "--format", "json", cwd=tmp_path)
    names = {package["name"] for package in json.loads(found.stdout)}
    assert "onnxruntime" in names
    assert names.isdisjoint({"torch", "torchvision", "onnx", "onnxscript", "safetensors"})


def test_bench_and_verify_are_imported_without_torch(device: Environment, tmp_path: Path) -> None:
    code = "import toolchain, toolchain.bench.bench, toolchain.verify.verify"
    done = device.run("python", "-c", code, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_predict_gives_the_labels_of_the_evaluation(
    device: Environment, pocket: Path, run_folder: Path, stripes: Path
) -> None:
    done = device.run("rtl", "predict", "model.onnx", stripes / "val", cwd=pocket)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    labels = {Path(row["file"]).relative_to(stripes).as_posix(): row["label"] for row in found}
    results = json.loads((run_folder / "evaluation.json").read_text())["results"]
    assert labels == {row["file"]: row["predicted"] for row in results}


def test_verify_repeats_the_proof_from_card_and_references(
    device: Environment, pocket: Path
) -> None:
    done = device.run("rtl", "verify", "model.onnx", "--json", cwd=pocket)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["passed"]
    assert [(level["level"], level["against"]) for level in result["levels"]] == [
        ("numbers", "card"),
        ("sessions", "card"),
        ("numbers", "references"),
        ("decisions", "references"),
        ("pixels", "references"),
    ]


def test_bench_measures_the_file_alone(device: Environment, pocket: Path) -> None:
    done = device.run("rtl", "bench", "model.onnx", "--seconds", "0.3", "--json", cwd=pocket)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert [(row["contender"], row["batch_size"]) for row in results] == [
        ("model.onnx", 1),
        ("model.onnx", 8),
    ]
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in results)


@pytest.mark.parametrize("name", ["model.onnx", "model.torchscript.pt"])
def test_inspect_reads_both_formats(device: Environment, pocket: Path, name: str) -> None:
    done = device.run("rtl", "inspect", name, "--json", cwd=pocket)
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)["card"]
    assert card["classes"] == ["across", "aslant", "down"]


def test_inspect_says_that_the_report_belongs_to_the_file(
    device: Environment, pocket: Path
) -> None:
    result = json.loads(device.run("rtl", "inspect", "model.onnx", "--json", cwd=pocket).stdout)
    assert result["references"]["belongs"]
    assert result["parity"]["belongs"]
    assert result["parity"]["passed"]


@pytest.mark.parametrize("command", [("verify", "model.torchscript.pt"), ("finetune", "photos")])
def test_what_needs_torch_says_how_to_install_it(
    device: Environment, pocket: Path, command: tuple[str, str]
) -> None:
    done = device.run("rtl", *command, cwd=pocket)
    assert done.returncode == 9, done.stderr
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: torch")
    assert hint == INSTALL


def test_doctor_finds_no_problem(device: Environment, pocket: Path) -> None:
    done = device.run("rtl", "doctor", "--json", cwd=pocket)
    assert done.returncode == 0, done.stderr
    states = {check["what"]: check["state"] for check in json.loads(done.stdout)["checks"]}
    assert states["onnxruntime"] == "ok"
    assert states["training"] == "note"
