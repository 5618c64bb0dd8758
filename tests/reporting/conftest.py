"""A run of three classes with an evaluation, which nothing trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reporting.made_run import CLASSES, draw_photographs, made_run
from toolchain.runs.runfolder import RunFolder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    draw_photographs(tmp_path / "photos", CLASSES, 8)
    return tmp_path / "photos"


@pytest.fixture
def names() -> list[str]:
    return [f"val/{number}/{index}.jpg" for number in range(len(CLASSES)) for index in range(8)]


@pytest.fixture
def run(tmp_path: Path, data: Path, names: list[str]) -> RunFolder:
    return made_run(tmp_path / "run", data, CLASSES, names)
