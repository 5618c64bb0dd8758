"""Importing toolchain, each of its modules, and opening a model leave the process as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.runtime.tiny import tiny_model, write

LIGHT = """
import locale, logging, os, pkgutil, signal, sys, threading, warnings
import numpy, PIL.Image, msgspec, click, rich

def state():
    return {
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "environment": dict(os.environ),
        "threads": [t.name for t in threading.enumerate()],
        "log level": logging.getLogger().level,
        "handlers": list(logging.getLogger().handlers),
        "signals": [signal.getsignal(s) for s in signal.valid_signals()],
        "locale": locale.setlocale(locale.LC_ALL),
        "folder": os.getcwd(),
        "recursion": sys.getrecursionlimit(),
        "excepthook": sys.excepthook,
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "pixels": PIL.Image.MAX_IMAGE_PIXELS,
        "numpy": numpy.geterr(),
        "path": list(sys.path),
    }

def changed(before):
    after = state()
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}

before = state()
import toolchain
assert not changed(before), changed(before)
import importlib
for room in ("runtime", "cli", "prediction", "verification", "benchmarking", "backends", "api"):
    package = importlib.import_module(f"toolchain.{room}")
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name.rpartition(".")[2] in ("cluster", "parquet", "__main__"):
            continue
        importlib.import_module(module.name)
        assert not changed(before), (module.name, changed(before))
import toolchain.doctor
assert "torch" not in sys.modules
with toolchain.Predictor(sys.argv[1]) as predictor:
    list(predictor.predict_many([numpy.zeros((9, 9, 3), "uint8")] * 3))
assert not changed(before), changed(before)
"""


def test_importing_and_opening_change_nothing_in_the_process(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(write(tiny_model(), tmp_path / "tiny.onnx"))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
