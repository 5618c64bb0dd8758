"""An edge device: the wheel with the extra `cpu`, a model file, its two companions and images."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.environments import Environment, inside

pytestmark = pytest.mark.environment

INSTALL = 'hint: pip install "rtl-toolchain[train]"'


@pytest.fixture(scope="module")
def device_folder(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what is copied to the device: model.onnx, what lies beside it, TorchScript."""
    folder = tmp_path_factory.mktemp("device_folder")
    model = "model.onnx"
    names = (model, f"{model}.references.npz", f"{model}.parity.json", "model.torchscript.pt")
    for name in names:
        shutil.copy(exported / name, folder)
    return folder


def test_the_wheel_is_small_and_typed_and_holds_no_tests(device: Environment) -> None:
    names = zipfile.ZipFile(device.wheel).namelist()
    # All of rtl, training included, in a small download.
    assert device.wheel.stat().st_size < 1_000_000
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
    code = "import toolchain, toolchain.benchmarking.bench, toolchain.verification.verify"
    done = device.run("python", "-c", code, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_predict_gives_the_labels_of_the_evaluation(
    device: Environment, device_folder: Path, run_folder: Path, stripes: Path
) -> None:
    done = device.run("rtl", "predict", "model.onnx", stripes / "val", cwd=device_folder)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    labels = {Path(row["file"]).relative_to(stripes).as_posix(): row["label"] for row in found}
    results = json.loads((run_folder / "evaluation.json").read_text())["results"]
    assert labels == {row["file"]: row["predicted"] for row in results}


def test_verify_compares_with_the_card_and_the_references(
    device: Environment, device_folder: Path
) -> None:
    done = device.run("rtl", "verify", "model.onnx", "--json", cwd=device_folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["passed"]
    assert [(level["level"], level["against"]) for level in result["levels"]] == [
        ("card", "report"),
        ("numbers", "card"),
        ("sessions", "card"),
        ("numbers", "references"),
        ("decisions", "references"),
        ("pixels", "references"),
        ("batches", "single images"),
    ]


def test_bench_measures_the_file_alone(device: Environment, device_folder: Path) -> None:
    done = device.run("rtl", "bench", "model.onnx", "--seconds", "0.3", "--json", cwd=device_folder)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert [(row["target"], row["batch_size"]) for row in results] == [
        ("model.onnx", 1),
        ("model.onnx", 8),
    ]
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in results)


@pytest.mark.parametrize("name", ["model.onnx", "model.torchscript.pt"])
def test_inspect_reads_both_formats(device: Environment, device_folder: Path, name: str) -> None:
    done = device.run("rtl", "inspect", name, "--json", cwd=device_folder)
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)["card"]
    assert card["classes"] == ["across", "aslant", "down"]


def test_inspect_reports_that_the_parity_report_belongs_to_the_file(
    device: Environment, device_folder: Path
) -> None:
    result = json.loads(
        device.run("rtl", "inspect", "model.onnx", "--json", cwd=device_folder).stdout
    )
    assert result["references"]["belongs"]
    assert result["parity"]["belongs"]
    assert result["parity"]["passed"]


@pytest.mark.parametrize("command", [("verify", "model.torchscript.pt"), ("finetune", "photos")])
def test_commands_that_need_torch_print_how_to_install_it(
    device: Environment, device_folder: Path, command: tuple[str, str]
) -> None:
    done = device.run("rtl", *command, cwd=device_folder)
    assert done.returncode == 9, done.stderr
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: torch")
    assert hint == INSTALL


def test_doctor_finds_no_problem(device: Environment, device_folder: Path) -> None:
    done = device.run("rtl", "doctor", "--json", cwd=device_folder)
    assert done.returncode == 0, done.stderr
    states = {check["what"]: check["state"] for check in json.loads(done.stdout)["checks"]}
    assert states["onnxruntime"] == "ok"
    assert states["training"] == "note"


STEPPED = """
import runpy, sys, time
time.sleep = lambda _: print("polled", flush=True) or sys.stdin.readline()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""The example app, which waits for a line after each poll in place of its second."""


@contextmanager
def watching(device: Environment, *words: Path) -> Iterator[Callable[[], None]]:
    """Run the example app until the block ends, which is Ctrl-C for it; yield its next poll."""
    watch = ROOT / "examples" / "edge" / "watch.py"
    app = subprocess.Popen(
        [device.folder / "bin" / "python", "-c", STEPPED, watch, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=inside(device.folder),
        # A test run in the background ignores Ctrl-C, and what it starts would too.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert app.stdin is not None
    assert app.stdout is not None
    typed, said = app.stdin, app.stdout

    def poll() -> None:
        typed.write("\n")
        typed.flush()
        assert said.readline() == "polled\n"

    try:
        assert said.readline() == "polled\n"
        yield poll
    finally:
        app.send_signal(signal.SIGINT)
        _, error = app.communicate(timeout=300)
    assert (app.returncode, error) == (0, "")


def rows(results: Path) -> list[dict[str, Any]]:
    """Return the rows that the example app has written whole."""
    text = results.read_text() if results.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def test_example_app_writes_a_line_for_each_image_and_none_twice(
    device: Environment, device_folder: Path, stripes: Path, tmp_path: Path
) -> None:
    incoming, results = tmp_path / "incoming", tmp_path / "results.jsonl"
    incoming.mkdir()
    images = sorted((stripes / "val").rglob("*.jpg"))[:3]
    data = images[0].read_bytes()
    shutil.copy(images[1], incoming / "first.jpg")
    (incoming / "page.jpg").write_text("<html>")
    with watching(device, device_folder / "model.onnx", incoming, results) as poll:
        assert rows(results) == []  # they may still be written
        poll()
        assert len(rows(results)) == 2
        with (incoming / "slow.jpg").open("wb") as file:
            for start in range(0, len(data), len(data) // 20):
                file.write(data[start : start + len(data) // 20])
                file.flush()
                poll()
        assert len(rows(results)) == 2
        poll()
        assert len(rows(results)) == 3
    with results.open("a") as file:
        file.write('{"file": "cut')
    shutil.copy(images[2], incoming / "last.jpg")
    with watching(device, device_folder / "model.onnx", incoming, results) as poll:
        poll()
        assert len(rows(results)) == 4
        for _ in "12":
            poll()
    found = {row["file"]: row for row in rows(results)}
    assert [row["file"] for row in rows(results)] == list(found)
    assert set(found) == {"first.jpg", "page.jpg", "slow.jpg", "last.jpg"}
    assert "a web page" in found["page.jpg"]["error"]
    assert all("label" in found[name] for name in ("first.jpg", "slow.jpg", "last.jpg"))


def test_example_app_is_short() -> None:
    assert len((ROOT / "examples/edge/watch.py").read_text().splitlines()) < 60
