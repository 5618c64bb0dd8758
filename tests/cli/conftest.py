"""What tests of the command line share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.predicting import CommandResult, Predict
from tests.prediction.pictures import tiny_model_file
from toolchain.cli.main import run_command


@pytest.fixture
def predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Predict:
    """Run `rtl predict tiny.onnx …` in an empty folder, in this process; or another `model`."""
    monkeypatch.chdir(tmp_path)
    own = tiny_model_file(tmp_path)

    def run(*words: object, model: Path = own) -> CommandResult:
        capfdbinary.readouterr()
        status = run_command(["predict", os.fspath(model), *(str(word) for word in words)])
        out, err = capfdbinary.readouterr()
        return CommandResult(status, out, err.decode(errors="replace"))

    return run
