"""`--provider auto` and `--provider openvino` on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Rtl
from tests.runtime.engines.files import model_with_references
from tests.runtime.engines.machine import Machine
from tests.runtime.engines.plugin import FakeOnnxruntime, install
from toolchain.runtime.engines import openvino

TAKEN = "provider spare: 2.00 × as fast as cpu, same answers for 8 images and 7 generated inputs"


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RTL_CACHE_DIR", str(tmp_path / "cache"))
    Image.new("RGB", (20, 20), "red").save(tmp_path / "red.png")
    return model_with_references(tmp_path / "model.onnx", images=8)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_predict_says_once_which_engine_it_took_and_why(
    rtl_here: Rtl, model: Path, machine: Machine
) -> None:
    done = rtl_here("predict", model, "red.png", "--provider", "auto", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["label"] == "across"
    assert done.stderr.splitlines().count(TAKEN) == 1
    quiet = rtl_here("predict", model, "red.png", "--provider", "auto", "--json", "--quiet")
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")
    assert machine.measured == 1


def test_verify_names_the_engine_that_was_taken(
    rtl_here: Rtl, model: Path, machine: Machine
) -> None:
    done = rtl_here("verify", model, "--provider", "auto", "--json")
    assert done.returncode == 0, done.stderr
    assert TAKEN in done.stderr.splitlines()
    found = json.loads(done.stdout)
    assert found["provider"] == "spare"
    assert {level["level"] for level in found["levels"]} >= {"numbers", "sessions"}


@pytest.mark.parametrize("command", ["predict", "verify"])
def test_openvino_without_its_plugin_is_one_line_with_the_command_that_installs_it(
    command: str, rtl_here: Rtl, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, FakeOnnxruntime())
    monkeypatch.setitem(sys.modules, openvino.MODULE, None)
    words = [command, model, *(["red.png"] if command == "predict" else [])]
    done = rtl_here(*words, "--provider", "openvino")
    assert (done.returncode, done.stdout) == (9, "")
    assert done.stderr.splitlines() == [
        "error: the OpenVINO plugin onnxruntime-ep-openvino is not installed",
        'hint: pip install "rtl-toolchain[openvino]"',
    ]
