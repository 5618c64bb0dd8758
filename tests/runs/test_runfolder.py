"""The run folder: never written over, never half written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from toolchain.errors import DataError, TrainingError
from toolchain.files import atomic_file, write_text
from toolchain.runs.runfolder import RunFolder, free_run_path, run_of_model


def finished(path: Path) -> RunFolder:
    """A folder that holds the three files of a finished run."""
    run = RunFolder(path)
    path.mkdir(parents=True)
    for file in (run.settings, run.card, run.weights):
        file.write_text("x")
    return run


def test_whole_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    with atomic_file(path) as temporary:
        temporary.write_text("done")
        assert not path.exists()
    assert path.read_text() == "done"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_whole_file_leaves_the_old_content_on_error(
    kind: type[BaseException], tmp_path: Path
) -> None:
    path = tmp_path / "result.json"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("ha")
            raise kind

    with pytest.raises(kind):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="modes are a matter of POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_whole_file_has_the_mode_that_any_new_file_has(
    umask: int, mode: int, tmp_path: Path
) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "a")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == mode


def test_text_is_written_in_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "crème 寿司")
    assert (tmp_path / "a.txt").read_bytes() == "crème 寿司".encode()


def test_free_run_path_counts_up_past_what_is_taken(tmp_path: Path) -> None:
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
def test_run_is_never_written_over(content: str, tmp_path: Path) -> None:
    (tmp_path / content).parent.mkdir(exist_ok=True)
    (tmp_path / content).write_text("precious")
    with pytest.raises(TrainingError, match="never written over") as caught:
        RunFolder(tmp_path / "run").create("epochs = 3\n")
    assert str(tmp_path / "run") in str(caught.value)
    assert (tmp_path / content).read_text() == "precious"


def test_folder_that_cannot_be_made_is_a_training_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="can't be made"):
        RunFolder(tmp_path / "file" / "run").create("epochs = 3\n")


def test_finished_run_opens(tmp_path: Path) -> None:
    finished(tmp_path / "run")
    assert RunFolder.open(str(tmp_path / "run")).weights.is_file()


@pytest.mark.parametrize("missing", ["settings.toml", "card.json", "model.safetensors"])
def test_unfinished_run_is_refused_and_what_is_missing_named(missing: str, tmp_path: Path) -> None:
    finished(tmp_path / "run")
    (tmp_path / "run" / missing).unlink()
    with pytest.raises(DataError, match="not a finished run") as caught:
        RunFolder.open(tmp_path / "run")
    assert f": {missing} missing" in str(caught.value)


def test_run_that_is_not_there_is_refused_with_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such run folder") as caught:
        RunFolder.open(tmp_path / "gone")
    assert "rtl finetune" in str(caught.value.hint)


@pytest.mark.parametrize("model_format", ["onnx", "torchscript"])
def test_model_in_a_run_knows_its_run_even_when_both_are_moved(
    model_format: str, tmp_path: Path
) -> None:
    run = finished(tmp_path / "run")
    write_text(run.model_file(model_format), "model")
    assert run_of_model(run.model_file(model_format)).path == run.path.resolve()  # type: ignore[union-attr]
    shutil.move(run.path, tmp_path / "moved")
    moved = RunFolder(tmp_path / "moved")
    assert run_of_model(moved.model_file(model_format)).path == moved.path.resolve()  # type: ignore[union-attr]


def test_model_that_was_moved_away_has_no_run(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "model.onnx").write_text("model")
    assert run_of_model(tmp_path / "app" / "model.onnx") is None


def test_model_named_from_inside_its_folder_knows_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(tmp_path / "run")
    write_text(run.model_file("onnx"), "model")
    monkeypatch.chdir(run.export)
    assert run_of_model(Path("model.onnx")).path == run.path.resolve()  # type: ignore[union-attr]
