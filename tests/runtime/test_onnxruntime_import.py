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
