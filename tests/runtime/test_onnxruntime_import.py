"""onnxruntime is imported without its telemetry, and with CUDA's libraries where it needs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from tests.conftest import ROOT
from toolchain.errors import ToolchainError
from toolchain.runtime.onnxruntime_import import load_cuda_libraries
from toolchain.runtime.session import open_session

USE = """
import os
before = dict(os.environ)
from toolchain.runtime.onnxruntime_import import import_onnxruntime
engine = import_onnxruntime()
engine.SessionOptions()
assert dict(os.environ) == before
"""


@pytest.mark.parametrize("setting", [None, "1"])
def test_importing_onnxruntime_writes_no_device_id(tmp_path: Path, setting: str | None) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    for name in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    if setting:
        environment["ORT_DISABLE_TELEMETRY"] = setting
    done = subprocess.run(
        [sys.executable, "-c", USE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.rglob("*")) == []


@pytest.fixture
def preloaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often onnxruntime was asked to load CUDA's libraries, of which it misses one."""
    calls: list[str] = []

    def preload_dlls() -> None:
        calls.append("preload_dlls")
        sys.stdout.write("Failed to load libcublasLt.so.12\n")

    monkeypatch.setattr(onnxruntime, "preload_dlls", preload_dlls, raising=False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    return calls


def test_cuda_is_opened_with_the_libraries_that_pip_has_installed(
    preloaded: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(ToolchainError):
        open_session(tmp_path / "model.onnx", provider="CUDA")
    assert preloaded == ["preload_dlls"]
    assert capsys.readouterr() == ("", ""), "what can't be loaded is said where it is needed"


def test_cpu_is_opened_without_looking_for_cuda(preloaded: list[str], tmp_path: Path) -> None:
    with pytest.raises(ToolchainError):
        open_session(tmp_path / "model.onnx", provider="cpu")
    assert preloaded == []


def test_libraries_that_torch_has_loaded_are_not_loaded_again(
    preloaded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cuda = SimpleNamespace(version=SimpleNamespace(cuda="13.0"))
    monkeypatch.setitem(sys.modules, "torch", with_cuda)
    load_cuda_libraries()
    assert preloaded == []


@pytest.mark.parametrize(("setting", "seen"), [(None, "1"), ("1", "1"), ("0", "0"), ("", "")])
def test_the_users_own_switch_is_left_alone(tmp_path: Path, setting: str | None, seen: str) -> None:
    package = tmp_path / "onnxruntime"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import os\nInferenceSession = SessionOptions = None\n"
        "print(repr(os.environ['ORT_DISABLE_TELEMETRY']))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    if setting is not None:
        environment["ORT_DISABLE_TELEMETRY"] = setting
    code = "from toolchain.runtime.onnxruntime_import import import_onnxruntime as f; f()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == repr(seen)
