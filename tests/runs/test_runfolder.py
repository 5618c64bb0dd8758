"""The run folder: never overwritten, never without settings, refused unless finished."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

from toolchain.errors import DataError, TrainingError
from toolchain.files import write_text
from toolchain.runs.runfolder import (
    SUFFIXES,
    RunFolder,
    free_run_path,
    model_name,
    run_of_model,
)


def finished(path: Path) -> RunFolder:
    """Return a folder with the three files of a finished run."""
    run = RunFolder(path)
    path.mkdir(parents=True)
    for file in (run.settings, run.card, run.weights):
        file.write_text("x")
    return run


def test_free_run_path_counts_up_past_existing_paths(tmp_path: Path) -> None:
    assert free_run_path(tmp_path / "runs", "food") == tmp_path / "runs" / "food"
    (tmp_path / "food").mkdir()
    assert free_run_path(tmp_path, "food") == tmp_path / "food-2"
    (tmp_path / "food-2").write_text("a file counts too")
    assert free_run_path(tmp_path, "food") == tmp_path / "food-3"


def test_new_or_empty_folder_is_free(tmp_path: Path) -> None:
    RunFolder(tmp_path).require_free()
    RunFolder(tmp_path / "a" / "b").create("epochs = 3\n")
    assert [file.name for file in (tmp_path / "a" / "b").iterdir()] == ["settings.toml"]
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["b"]


@pytest.mark.parametrize("content", ["run/notes.txt", "run/.hidden", "run"])
def test_run_is_never_overwritten(content: str, tmp_path: Path) -> None:
    (tmp_path / content).parent.mkdir(exist_ok=True)
    (tmp_path / content).write_text("precious")
    with pytest.raises(TrainingError, match="never written over") as caught:
        RunFolder(tmp_path / "run").create("epochs = 3\n")
    assert str(tmp_path / "run") in str(caught.value)
    assert (tmp_path / content).read_text() == "precious"


def test_where_a_stopped_run_is_in_the_way_the_command_resumes_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "my run")
    run.create("epochs = 3\n")
    with pytest.raises(TrainingError) as caught:
        run.require_free()
    assert "--resume" not in str(caught.value.hint)
    run.checkpoints.mkdir()
    with pytest.raises(TrainingError) as caught:
        run.require_free()
    assert str(caught.value.hint).startswith(f"rtl finetune --resume '{run.path}', or choose")


def test_folder_that_cannot_be_made_is_a_training_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="can't be made"):
        RunFolder(tmp_path / "file" / "run").create("epochs = 3\n")


def test_finished_run_opens(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    assert RunFolder.open(str(tmp_path / "run")).weights.is_file()


@pytest.mark.parametrize("missing", ["settings.toml", "card.json", "model.safetensors"])
def test_unfinished_run_is_refused_with_the_name_of_the_missing_file(
    missing: str, tmp_path: Path
) -> None:
    finished(tmp_path / "run")
    (tmp_path / "run" / missing).unlink()
    with pytest.raises(DataError, match="not a finished run") as caught:
        RunFolder.open(tmp_path / "run")
    assert f": {missing} missing" in str(caught.value)


def test_missing_run_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder") as caught:
        RunFolder.open(tmp_path / "gone")
    assert "rtl finetune" in str(caught.value.hint)


@pytest.mark.parametrize("model_format", ["onnx", "torchscript"])
def test_run_of_a_model_is_found_after_both_are_moved(model_format: str, tmp_path: Path) -> None:
    run = finished(tmp_path / "run")
    write_text(run.model_file(model_format), "model")
    assert run_of_model(run.model_file(model_format)).path == run.path.resolve()  # type: ignore[union-attr]
    shutil.move(run.path, tmp_path / "moved")
    moved = RunFolder(tmp_path / "moved")
    assert run_of_model(moved.model_file(model_format)).path == moved.path.resolve()  # type: ignore[union-attr]


def test_model_outside_of_a_run_folder_has_no_run(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "model.onnx").write_text("model")
    assert run_of_model(tmp_path / "app" / "model.onnx") is None


def test_run_of_a_model_with_a_relative_path_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(tmp_path / "run")
    write_text(run.model_file("onnx"), "model")
    monkeypatch.chdir(run.export)
    assert run_of_model(Path("model.onnx")).path == run.path.resolve()  # type: ignore[union-attr]


def test_an_empty_folder_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be a mount point, a link or the current folder, which a rename can't replace."""
    for name in ("mounted", "linked", "current"):
        (tmp_path / name).mkdir()
    (tmp_path / "mounted" / "lost+found").mkdir()
    (tmp_path / "link").symlink_to("linked")
    monkeypatch.chdir(tmp_path / "current")
    before = {path: path.stat().st_ino for path in tmp_path.iterdir()}
    for path in (tmp_path / "mounted", tmp_path / "link", Path()):
        RunFolder(path).require_creatable()
        RunFolder(path).create("epochs = 3\n")
        assert RunFolder(path).settings.read_text() == "epochs = 3\n"
        with pytest.raises(TrainingError, match="not empty"):
            RunFolder(path).create("epochs = 4\n")
    assert {path: path.stat().st_ino for path in tmp_path.iterdir()} == before
    assert (tmp_path / "link").is_symlink()
    assert not list(tmp_path.glob("*/.*"))


def test_of_two_runs_that_begin_in_an_empty_folder_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RunFolder, "_is_empty_folder", lambda _: True)  # both have looked before
    RunFolder(tmp_path).create("seed = 1\n")
    with pytest.raises(TrainingError, match="can't be made: File exists"):
        RunFolder(tmp_path).create("seed = 2\n")
    assert RunFolder(tmp_path).settings.read_text() == "seed = 1\n"


def test_a_place_that_can_not_be_written_is_found_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunFolder(tmp_path / "new" / "run").require_creatable()
    assert list(tmp_path.iterdir()) == []

    def read_only(**_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    message = f"run can't be made: read-only file system in {tmp_path}"
    with pytest.raises(TrainingError, match=message):
        RunFolder(tmp_path / "new" / "run").require_creatable()


def test_the_room_of_the_model_is_taken_at_the_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    run.reserve_room(3_000_000)
    assert run.reserved.stat().st_blocks * 512 >= 3_000_000
    run.release_room()
    assert not run.reserved.exists()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        TrainingError, match=r"no room for the model: it takes 3\.0 MB, and .* free"
    ):
        run.reserve_room(3_000_000)
    assert not run.reserved.exists()


def test_files_that_differ_have_names_that_differ() -> None:
    names = [
        model_name(model_format, precision, input_kind, batch=batch, size=size, opset=opset)
        for model_format in SUFFIXES
        for precision in ("fp32", "int8")
        for input_kind in ("pixels", "image")
        for batch in (None, 1, 16)
        for size in (None, 16, 224)
        for opset in (None, 16, 21)
    ]
    assert len(set(names)) == len(names)
    assert names[0] == "model.onnx"
    assert model_name("pt2", "int8", "tensor", batch=4, size=96, opset=20) == (
        "model.tensor.batch4.size96.opset20.int8.pt2"
    )
