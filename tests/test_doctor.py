"""`rtl doctor`: what is installed, what works, and known problems."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import onnxruntime
import pytest
import torch

from tests.conftest import ROOT, Rtl
from tests.runtime.engines.plugin import FakeOnnxruntime, install
from toolchain import doctor
from toolchain.doctor import Check, DoctorReport, examine
from toolchain.errors import MissingExtraError
from toolchain.extras import EXTRAS
from toolchain.files import json_text
from toolchain.runtime.engines import openvino
from toolchain.version import __version__


@pytest.fixture(scope="module")
def checks() -> list[Check]:
    return examine().checks


def named(checks: list[Check], what: str) -> Check:
    [found] = [check for check in checks if check.what == what]
    return found


def pretend_installed(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    monkeypatch.setattr(doctor, "installed_versions", lambda: versions)


def test_engine_and_training_are_reported_with_their_versions(checks: list[Check]) -> None:
    assert onnxruntime.__version__ in named(checks, "onnxruntime").found
    assert torch.__version__ in named(checks, "training").found
    assert f"rtl {__version__}" in named(checks, "machine").found


def test_providers_have_the_names_that_options_take(checks: list[Check]) -> None:
    found = named(checks, "providers")
    assert found.state == "ok"
    assert "cpu" in found.found.removeprefix("compiled in: ").split(", ")


def test_a_working_installation_has_no_problem(checks: list[Check]) -> None:
    assert examine().problems == []
    assert "problem" not in {check.state for check in checks}


def test_two_engines_that_shadow_each_other_are_a_problem_and_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_installed(monkeypatch, {"onnxruntime": "1.20.0", "onnxruntime-gpu": "1.20.0"})
    first = examine().checks[0]
    assert (first.state, first.what) == ("problem", "onnxruntime")
    assert "shadow each other" in first.found
    assert "pip uninstall onnxruntime onnxruntime-gpu" in first.remedy


def test_a_missing_engine_is_a_problem_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_installed(monkeypatch, {"numpy": "2.0.0"})
    engine = named(examine().checks, "onnxruntime")
    assert (engine.state, engine.found) == ("problem", "not installed")
    assert 'pip install "rtl-toolchain[cpu]"' in engine.remedy


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime-gpu"])
def test_either_engine_alone_is_fine(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pretend_installed(monkeypatch, {name: "1.20.0"})
    engine = named(examine().checks, "onnxruntime")
    assert (engine.state, engine.found) == ("ok", f"{name} 1.20.0")


def test_without_torch_training_is_a_note_and_the_rest_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name.startswith("torch") else find(name)
    )
    found = named(examine().checks, "training")
    assert found.state == "note"
    assert "torch, torchvision" in found.found
    assert "[train]" in found.remedy


@pytest.mark.parametrize("package", EXTRAS["train"])
def test_each_missing_package_of_the_training_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    found = named(doctor._training(), "training")
    assert (found.state, found.found.split(";")[0]) == ("note", f"not installed: {package}")


def test_json_is_a_version_and_the_checks() -> None:
    report = DoctorReport(checks=[Check("note", "cores", "2 of 4")])
    assert json.loads(json_text(report)) == {
        "version": 1,
        "checks": [{"state": "note", "what": "cores", "found": "2 of 4", "remedy": ""}],
    }


def test_a_quota_below_the_hosts_cores_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 512)
    found = named(examine().checks, "cores")
    assert found.state == "note"
    assert "of 512 may be used" in found.found


BROKEN = {
    "absent": "raise ModuleNotFoundError(\"No module named 'onnxruntime'\", name='onnxruntime')",
    "broken": "raise ImportError('libonnxruntime.so.1: cannot open shared object file')",
    "hollow": "__file__ = None",  # as of a folder without a file of its own
}
FOUND = {
    "absent": "onnxruntime is not installed",
    "broken": "can't be imported: libonnxruntime.so.1: cannot open shared object file",
    "hollow": "is a folder without the package, as an uninstall leaves it",
}


@pytest.mark.parametrize("state", BROKEN)
def test_doctor_survives_packages_that_cannot_be_imported(
    rtl: Rtl, tmp_path: Path, state: str
) -> None:
    for name in EXTRAS["train"] + EXTRAS["cpu"]:
        folder = tmp_path / "packages" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(BROKEN[state].replace("onnxruntime", name))
    done = rtl("doctor", "--json", env={"PYTHONPATH": f"{tmp_path / 'packages'}:{ROOT}"})
    assert done.returncode == 10, done.stderr
    found = {check["what"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["onnxruntime"]["state"] == "problem"
    assert FOUND[state] in found["onnxruntime"]["found"]
    assert found["onnxruntime"]["remedy"]
    if state != "absent":
        broken = {name for name, check in found.items() if check["state"] == "problem"}
        assert broken == {"onnxruntime", *EXTRAS["train"]} - {"torchvision"}


@pytest.mark.parametrize(("setting", "state"), [(None, "ok"), ("1", "ok"), ("0", "note")])
def test_telemetry_of_onnxruntime_is_shown(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, state: str
) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    if setting is not None:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", setting)
    check = doctor._telemetry()
    assert (check.what, check.state) == ("telemetry", state)


def test_the_folder_that_an_uninstall_left_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def hollow() -> None:
        raise MissingExtraError("onnxruntime", "cpu", "/site/onnxruntime is a folder without it")

    pretend_installed(monkeypatch, {"numpy": "2.0.0"})
    monkeypatch.setattr(doctor, "import_onnxruntime", hollow)
    check = doctor._engine()
    assert check.state == "problem"
    assert "/site/onnxruntime is a folder without it" in check.found


def test_a_decoder_of_heic_that_cannot_be_imported_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> None:
        raise MissingExtraError(name, "heif", "libheif is missing")

    monkeypatch.setattr(doctor, "reads_heif", lambda: True)
    monkeypatch.setattr(doctor, "import_extra", broken)
    check = doctor._heic()
    assert check.state == "problem"
    assert "libheif is missing" in check.found


def openvino_check(monkeypatch: pytest.MonkeyPatch, fake: FakeOnnxruntime | None) -> Check:
    """Return the check of OpenVINO, with stand-ins for its plugin; None is without it."""
    found = importlib.util.find_spec
    if fake is not None:
        install(monkeypatch, fake)
    spec = None if fake is None else "there"
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: spec if name == openvino.MODULE else found(name),
    )
    [check] = doctor._openvino()
    return check


@pytest.mark.parametrize(
    ("vendor", "capabilities", "state", "words"),
    [
        ("GenuineIntel", "FP32 INT8", "ok", "computes in float32"),
        ("GenuineIntel", "FP32 BF16", "ok", "computes in float32 and bfloat16"),
        ("AMD", "", "note", "no device for processors of AMD"),
    ],
)
def test_openvino_is_named_with_what_it_computes(
    vendor: str, capabilities: str, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "_processor_flags", lambda: {"amx_bf16"})
    check = openvino_check(monkeypatch, FakeOnnxruntime(vendor, capabilities))
    assert (check.state, check.what) == (state, "OpenVINO")
    assert words in check.found
    assert check.remedy == ""


def test_openvino_that_is_not_installed_is_named_with_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check = openvino_check(monkeypatch, None)
    assert check.state == "ok"
    assert check.remedy == 'pip install "rtl-toolchain[openvino]"'


def test_an_openvino_plugin_that_can_not_be_imported_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeOnnxruntime()
    install(monkeypatch, fake)
    empty = ModuleType(openvino.MODULE)
    empty.__file__ = "plugin.py"
    monkeypatch.setitem(sys.modules, openvino.MODULE, empty)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    [check] = doctor._openvino()
    assert (check.state, check.what) == ("problem", "OpenVINO")
    assert "parts of the package are missing" in check.found


def test_a_package_that_replaces_onnxruntime_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend_installed(monkeypatch, {"onnxruntime": "1.24.1", "onnxruntime-openvino": "1.24.1"})
    first = doctor._engine()
    assert first.state == "problem"
    assert "pip uninstall onnxruntime-openvino" in first.remedy
