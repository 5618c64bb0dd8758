from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any

import pytest

from tests import untraced


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
