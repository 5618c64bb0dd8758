"""What the tests of runs that are stopped share: a desk, and a run that was killed at it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.training.desk import EACH_EPOCH, HEAD, Desk, killed_in_step


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def killed(desk: Desk, stripes: Path) -> Path:
    """A run that was killed in its third epoch, to be copied: its checkpoint is of the second."""
    faults = [EACH_EPOCH, killed_in_step(8)]
    assert desk.finetune(stripes, *HEAD, faults=faults, output="killed").status == -9
    return desk.folder / "killed"


@pytest.fixture
def copy(desk: Desk, killed: Path, tmp_path: Path) -> str:
    """The name of a copy of that run."""
    name = f"copy of {tmp_path.name}"
    shutil.copytree(killed, desk.folder / name)
    return name
