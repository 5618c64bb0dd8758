"""What tests of the command line share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.predicting import Predict, Said, tiny
from toolchain.cli.main import run_command


@pytest.fixture
def predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Predict:
    """Run `rtl predict tiny.onnx …` in an empty folder, in this process; or another `model`."""
    monkeypatch.chdir(tmp_path)
    own = tiny(tmp_path)

    def run(*words: object, model: Path = own) -> Said:
        capfdbinary.readouterr()
        status = run_command(["predict", os.fspath(model), *(str(word) for word in words)])
        out, err = capfdbinary.readouterr()
        return Said(status, out, err.decode(errors="replace"))

    return run
