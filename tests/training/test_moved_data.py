"""A stopped run is resumed with its images in another place, and leaves no older evaluation."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from toolchain.cli.main import run_command
from toolchain.errors import DataError
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings_file import settings_toml
from toolchain.runs.stored_settings import stored_settings
from toolchain.training.finetune import resume


@pytest.fixture
def stopped(run_folder: Path, tmp_path: Path) -> RunFolder:
    """A run of one epoch that was stopped at once; its data are gone from their place."""
    run = RunFolder(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    for name in ("audit.json", "evaluation.json"):
        shutil.copy(run_folder / name, run.path)
    settings = msgspec.structs.replace(
        stored_settings(run_folder / "settings.toml"),
        data=str(tmp_path / "gone"),
        strategy="head",
        size=32,
        resize_size=36,
        epochs=1,
        t_max=1,
    )
    run.settings.write_text(settings_toml(settings))
    return run


def test_data_that_were_moved_are_asked_for_and_remembered(
    stopped: RunFolder, stripes: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="no longer there") as caught:
        resume(stopped.path)
    assert f"--resume {stopped.path} --data DATA" in str(caught.value.hint)
    with pytest.raises(DataError, match="nowhere: no such folder"):
        resume(stopped.path, data="nowhere")
    moved = shutil.copytree(stripes, tmp_path / "moved")
    resume(stopped.path, data=str(moved))
    assert stopped.weights.is_file()
    assert stored_settings(stopped.settings).data == str(moved)
    assert not stopped.evaluation.exists()  # it was of the model before


def test_other_images_are_refused(stopped: RunFolder, stripes: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(stripes, tmp_path / "moved")
    (moved / "val" / "down" / "00.jpg").unlink()
    with pytest.raises(DataError, match="has changed since"):
        resume(stopped.path, data=str(moved))
    assert stored_settings(stopped.settings).data == str(tmp_path / "gone")


def test_settings_that_were_cut_do_not_train_with_others(stopped: RunFolder, stripes: Path) -> None:
    lines = stopped.settings.read_text().splitlines(keepends=True)
    stopped.settings.write_text("".join(lines[: len(lines) // 2]))
    with pytest.raises(DataError, match=r"settings\.toml is damaged: it lacks"):
        resume(stopped.path, data=str(stripes))


def test_data_as_an_option_belongs_to_resume(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["finetune", "photos", "--data", "elsewhere"]) == 2
    assert "--data is for --resume" in capsys.readouterr().err
