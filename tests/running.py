"""How pytest runs the tests: which it collects, in which order, and what it leaves behind."""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.leftovers import remove_large_files
from tests.quick import is_left_out, mark_slow
from tests.untraced import pause_coverage


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not import the slow files where their tests are left out."""
    return is_left_out(collection_path, str(config.option.markexpr)) or None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep Python's garbage collector from visiting all that was imported, again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(20_000, 10, 10)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave the folders of failed tests without the models and checkpoints in them."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        remove_large_files(session.config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, and run them first."""
    mark_slow(items)


def pytest_runtest_setup() -> None:
    """Let torch's ONNX exporter read its table of operators once in a process.

    It parses the source of every operator for each export anew, 1 to 2 seconds that are the same
    for all of the suite's exports. Where torch has no such table, nothing is changed.
    """
    if sys.gettrace() is not None:
        pause_coverage()
    module = sys.modules.get("torch.onnx._internal.exporter._registration")
    registry = getattr(module, "ONNXRegistry", None)
    if registry is not None and not hasattr(registry.from_torchlib, "cache_info"):
        registry.from_torchlib = staticmethod(functools.cache(registry.from_torchlib))
