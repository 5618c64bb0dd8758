"""Folders that a whole run of the tests makes once, whichever of its processes asks first."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def session_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which all processes of this run of the tests have theirs."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a new folder that `make` has filled, the same one in every process.

    The processes of `pytest -n` wait for the one that makes it. They all read it, so no test may
    change what is in it: fixtures hand out a copy where tests do.
    """
    place = session_folder(factory) / "once" / name
    place.mkdir(parents=True, exist_ok=True)
    folder, finished = place / name, place / "finished"
    with FileLock(place / "lock"):
        if not finished.exists():
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder
