from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests import untraced
from tests.conftest import ROOT


def trace(frame: FrameType, event: str, argument: Any) -> None:
    """Trace nothing."""


def test_a_trace_function_is_paused_until_the_block_ends() -> None:
    found: list[Any] = []

    def in_a_thread() -> None:  # each has a trace function of its own
        sys.settrace(trace)
        with untraced.untraced():
            found.append(sys.gettrace())
        found.append(sys.gettrace())
        sys.settrace(None)

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert found == [None, trace]


MEASURED = """
def work(function):
    first = function(1)
    if first:
        return [
            first,
        ]
    return None
"""


def test_coverage_goes_on_behind_what_was_paused(tmp_path: Path) -> None:
    module = tmp_path / "measured.py"
    module.write_text(MEASURED)
    code = (
        "import coverage, sys\n"
        "from tests.untraced import pausing\n"
        "measured = coverage.Coverage(None, branch=True, config_file=False)\n"
        "measured.start()\n"
        "import measured as module\n"
        "assert module.work(pausing(lambda value: value)) == [1]\n"
        "measured.stop()\n"
        "print(sorted(measured.get_data().lines(module.__file__)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "COVERAGE_CORE": "ctrace"},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[2, 3, 4, 5, 6]\n", "")


def test_a_function_that_pauses_coverage_returns_what_it_returned() -> None:
    def divide(a: int, *, by: int) -> tuple[float, object]:
        """Divide."""
        return a / by, sys.gettrace()

    pausing = untraced.pausing(divide)
    assert pausing(6, by=3) == (2, None)
    assert pausing.__name__ == "divide"


def test_functions_that_take_long_pause_coverage_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from matplotlib.figure import Figure

    def functions() -> list[object]:
        return [torch.onnx.export, torch.export.export, torch.jit.trace, Figure.savefig]

    for owner in (torch.onnx, torch.export):
        monkeypatch.setattr(owner, "export", owner.export)  # afterwards it is this again
    monkeypatch.setattr(torch.jit, "trace", torch.jit.trace)
    monkeypatch.setattr(Figure, "savefig", Figure.savefig)
    untraced.pause_coverage()
    once = functions()
    assert all(hasattr(function, "is_untraced") for function in once)
    untraced.pause_coverage()
    assert functions() == once
