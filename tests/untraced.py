"""Coverage is of `toolchain`, but its trace function takes time at every call that torch makes too.

So it is paused while torch is imported, exports and traces, and while matplotlib draws: these make
millions of calls.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

IMPORTS = (
    "torch._dynamo",
    "torch.export",
    "torch.distributed",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "safetensors.torch",
    "hypothesis.strategies",
    "matplotlib.figure",
    "matplotlib.axes",
)
"""Modules that take seconds of the collection of all tests, mostly in what they import."""

FUNCTIONS = (
    "torch.onnx:export",
    "torch.export:export",
    "torch.jit:trace",
    "matplotlib.figure:Figure.savefig",
)


@contextlib.contextmanager
def untraced() -> Iterator[None]:
    """Pause coverage in this thread until the block ends."""
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(trace)
        _called()  # coverage is there again from the next call on, and then for its callers too


def _called() -> None:
    """Do nothing."""


def import_untraced() -> None:
    """Import what most tests need; a module that is not installed is left to the tests."""
    with untraced():
        for name in IMPORTS:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)


def pause_coverage() -> None:
    """Let those of FUNCTIONS whose module is loaded pause coverage, once in a process."""
    for name in FUNCTIONS:
        module_name, _, path = name.partition(":")
        *owners, function_name = path.split(".")
        owner: Any = sys.modules.get(module_name)
        for owner_name in owners:
            owner = getattr(owner, owner_name, None)
        function = getattr(owner, function_name, None)
        if function is not None and not hasattr(function, "is_untraced"):
            setattr(owner, function_name, pausing(function))


def pausing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, which pauses coverage."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        with untraced():
            return function(*arguments, **options)

    call.is_untraced = True  # type: ignore[attr-defined]
    return call
