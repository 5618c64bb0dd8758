"""Fixtures for the tests of planted faults."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from tests.verification.planting import TEMPERATURE, ExportedRun
from toolchain.exporters.export import accepted_models, export
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.trained_run import TrainedRun
from toolchain.verification.references.trained_model import open_trained_reference


@pytest.fixture(scope="session")
def exported_run(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportedRun:
    """A run with a temperature and its ONNX file; shared, so faults are planted in copies."""
    path = tmp_path_factory.mktemp("mutations") / "run"
    run = RunFolder(shutil.copytree(run_folder, path, ignore=shutil.ignore_patterns("export")))
    run.write_card(msgspec.structs.replace(run.read_card(), temperature=TEMPERATURE))
    [exported] = accepted_models(export(run.path, images=6))
    return ExportedRun(
        run, exported.path, open_trained_reference(TrainedRun.open(run.path), images=6)
    )
