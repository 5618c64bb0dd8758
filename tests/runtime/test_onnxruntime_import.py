"""onnxruntime is imported without its telemetry, and rtl leaves the process as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

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
