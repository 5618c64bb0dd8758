"""What `--resume` accepts, what it refuses, and its messages."""

from __future__ import annotations

import shlex
import shutil
from functools import partial
from pathlib import Path

from tests.training.sandbox import (
    EACH_EPOCH,
    HEAD,
    Sandbox,
    killed_at,
    killed_in_step,
    outcome,
    wait_at,
    wait_for,
    wait_in_step,
)
from toolchain.runs.settings_file import read_settings
from toolchain.runs.stored_settings import stored_settings


def test_evaluation_of_a_killed_run_hints_at_resuming_it(sandbox: Sandbox, copy: str) -> None:
    ended = sandbox.rtl("evaluate", copy)
    assert ended.status == 3
    assert "its training was stopped" in ended.output
    assert shlex.split(ended.hint) == ["rtl", "finetune", "--resume", copy]


def test_evaluation_of_a_run_killed_at_once_hints_at_resuming_it(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults = [killed_at("toolchain.runs.runfolder:RunFolder.create", after=True)]
    assert sandbox.finetune(stripes, *HEAD, faults=faults, output="at once").status == -9
    assert sandbox.rtl("evaluate", "at once").hint == "rtl finetune --resume 'at once'"


def test_a_finished_run_is_not_resumed(sandbox: Sandbox, copy: str) -> None:
    assert sandbox.resume(copy).status == 0
    before = outcome(sandbox.folder / copy)
    ended = sandbox.resume(copy)
    assert ended.status == 11
    assert "has finished" in ended.output
    assert shlex.split(ended.hint)[-2:] == ["--weights", copy]
    assert outcome(sandbox.folder / copy) == before


def test_a_folder_that_is_no_run_is_refused(sandbox: Sandbox, stripes: Path) -> None:
    messages = {stripes: f"{stripes} is no run folder", "nowhere": "nowhere: no such run folder"}
    for folder, message in messages.items():
        ended = sandbox.resume(str(folder))
        assert ended.status == 3
        assert message in ended.output


def test_a_run_is_resumed_with_its_own_data_only(tmp_path: Path, stripes: Path) -> None:
    sandbox, data = Sandbox(tmp_path), tmp_path / "data"
    shutil.copytree(stripes, data)
    faults = [EACH_EPOCH, killed_in_step(8)]
    assert sandbox.finetune(data, *HEAD, faults=faults, output="run").status == -9
    kept = sorted(tmp_path.glob("run/**/*"))
    image = data / "train" / "down" / "00.jpg"
    image.write_bytes((data / "train" / "down" / "01.jpg").read_bytes())
    ended = sandbox.resume("run")
    assert ended.status == 3
    assert f"{data} has changed since run began" in ended.output
    assert f"start anew: rtl finetune {data} --config run/settings.toml" in ended.output
    settings = read_settings(tmp_path / "run" / "settings.toml", {"data": str(data)})
    assert settings == stored_settings(tmp_path / "run" / "settings.toml")
    assert sorted(tmp_path.glob("run/**/*")) == kept
    shutil.copy(stripes / "train" / "down" / "00.jpg", image)
    assert sandbox.resume("run").status == 0


def test_a_list_in_another_order_gives_the_same_weights_or_is_refused(
    tmp_path: Path, stripes: Path
) -> None:
    sandbox = Sandbox(tmp_path)
    for split in ("train", "val"):
        files = sorted((stripes / split).rglob("*.jpg"))
        lines = [f"{file} {file.parent.name}\n" for file in files]
        (tmp_path / f"{split}.txt").write_text("".join(lines))
    data = tmp_path / "train.txt"
    whole = sandbox.never_stopped(data, *HEAD)
    sandbox.finetune(data, *HEAD, faults=[EACH_EPOCH, killed_in_step(8)], output="run")
    data.write_text("".join(reversed(data.read_text().splitlines(keepends=True))))
    status = sandbox.resume("run").status
    assert status == 3 or outcome(tmp_path / "run").weights == whole.weights


def test_damaged_settings_are_an_error_that_names_their_file(sandbox: Sandbox, copy: str) -> None:
    settings = sandbox.folder / copy / "settings.toml"
    settings.write_text(settings.read_text().replace("epochs = 3", "epochs = many"))
    ended = sandbox.resume(copy)
    assert ended.status == 3
    assert f"{copy}/settings.toml" in ended.output
    assert "bug" not in ended.output


def test_a_file_of_the_user_in_a_run_folder_stays(sandbox: Sandbox, copy: str) -> None:
    notes = sandbox.folder / copy / ".my.notes.txt"
    notes.write_text("years of work")
    assert sandbox.resume(copy).status == 0
    assert notes.read_text() == "years of work"


def test_a_run_is_resumed_with_its_own_settings_only(
    sandbox: Sandbox, stripes: Path, copy: str
) -> None:
    ended = sandbox.resume(copy, stripes, "--epochs", "9", "--lr-head", "1", "--workers", "0")
    assert ended.status == 2
    assert "--epochs, --lr-head, DATA can't be changed" in ended.output
    assert not (sandbox.folder / copy / "model.safetensors").exists()


def test_a_run_in_training_is_locked_for_others(sandbox: Sandbox, copy: str) -> None:
    running = sandbox.start("finetune", "--resume", copy, faults=[wait_in_step(1)])
    wait_for(sandbox.folder / "waiting")
    ended = sandbox.resume(copy)
    assert ended.status == 11
    assert f"{copy} is being trained by another process" in ended.output
    (sandbox.folder / "waiting").unlink()
    assert running.ended().status == 0


def test_a_run_that_another_process_has_resumed_first_is_left_to_it(
    tmp_path: Path, stripes: Path
) -> None:
    sandbox = Sandbox(tmp_path)
    slow = [partial(wait_at, "toolchain.training.finetune:run_lock", 1, "slow")]
    late = sandbox.start("finetune", stripes, *HEAD, "-o", "run", faults=slow)
    wait_for(tmp_path / "slow")
    other = sandbox.start("finetune", "--resume", "run", faults=[wait_in_step(1)])
    wait_for(tmp_path / "waiting")
    (tmp_path / "slow").unlink()
    assert late.ended().status == 11
    (tmp_path / "waiting").unlink()
    ended = other.ended()
    assert ended.status == 0, ended.output
    assert len(outcome(tmp_path / "run").metrics) == 4  # three epochs and the summary
