"""What `--resume` goes on with, what it refuses, and what it says."""

from __future__ import annotations

import shlex
import shutil
from functools import partial
from pathlib import Path

from tests.training.desk import (
    EACH_EPOCH,
    HEAD,
    Desk,
    killed_at,
    killed_in_step,
    outcome,
    wait_at,
    wait_for,
    wait_in_step,
)


def test_evaluation_of_a_killed_run_names_the_command_that_goes_on(desk: Desk, copy: str) -> None:
    ended = desk.rtl("evaluate", copy)
    assert ended.status == 3
    assert "its training was stopped" in ended.output
    assert shlex.split(ended.hint) == ["rtl", "finetune", "--resume", copy]


def test_a_run_killed_at_once_is_told_to_go_on_too(desk: Desk, stripes: Path) -> None:
    faults = [killed_at("toolchain.runs.runfolder:RunFolder.create", after=True)]
    assert desk.finetune(stripes, *HEAD, faults=faults, output="at once").status == -9
    assert desk.rtl("evaluate", "at once").hint == "rtl finetune --resume 'at once'"


def test_a_finished_run_is_not_gone_on_with(desk: Desk, copy: str) -> None:
    assert desk.resume(copy).status == 0
    before = outcome(desk.folder / copy)
    ended = desk.resume(copy)
    assert ended.status == 11
    assert "has finished" in ended.output
    assert shlex.split(ended.hint) == ["rtl", "evaluate", copy]
    assert outcome(desk.folder / copy) == before


def test_a_folder_that_is_no_run_is_refused(desk: Desk, stripes: Path) -> None:
    for folder in (stripes, "nowhere"):
        ended = desk.resume(str(folder))
        assert ended.status == 3
        assert f"{folder} is no run folder" in ended.output


def test_a_run_goes_on_with_its_own_data_only(tmp_path: Path, stripes: Path) -> None:
    desk, data = Desk(tmp_path), tmp_path / "data"
    shutil.copytree(stripes, data)
    faults = [EACH_EPOCH, killed_in_step(8)]
    assert desk.finetune(data, *HEAD, faults=faults, output="run").status == -9
    kept = sorted(tmp_path.glob("run/**/*"))
    image = data / "train" / "down" / "00.jpg"
    image.write_bytes((data / "train" / "down" / "01.jpg").read_bytes())
    ended = desk.resume("run")
    assert ended.status == 3
    assert f"{data} has changed since run began" in ended.output
    assert sorted(tmp_path.glob("run/**/*")) == kept
    shutil.copy(stripes / "train" / "down" / "00.jpg", image)
    assert desk.resume("run").status == 0


def test_a_list_in_another_order_gives_the_same_weights_or_is_refused(
    tmp_path: Path, stripes: Path
) -> None:
    desk = Desk(tmp_path)
    for split in ("train", "val"):
        files = sorted((stripes / split).rglob("*.jpg"))
        lines = [f"{file} {file.parent.name}\n" for file in files]
        (tmp_path / f"{split}.txt").write_text("".join(lines))
    data = tmp_path / "train.txt"
    whole = desk.never_stopped(data, *HEAD)
    desk.finetune(data, *HEAD, faults=[EACH_EPOCH, killed_in_step(8)], output="run")
    data.write_text("".join(reversed(data.read_text().splitlines(keepends=True))))
    status = desk.resume("run").status
    assert status == 3 or outcome(tmp_path / "run").weights == whole.weights


def test_settings_that_can_not_be_read_any_more_are_told_as_such(desk: Desk, copy: str) -> None:
    settings = desk.folder / copy / "settings.toml"
    settings.write_text(settings.read_text().replace("epochs = 3", "epochs = many"))
    ended = desk.resume(copy)
    assert ended.status == 3
    assert f"{copy}/settings.toml" in ended.output
    assert "bug" not in ended.output


def test_what_the_user_put_into_a_run_stays(desk: Desk, copy: str) -> None:
    notes = desk.folder / copy / ".my.notes.txt"
    notes.write_text("years of work")
    assert desk.resume(copy).status == 0
    assert notes.read_text() == "years of work"


def test_a_run_goes_on_with_its_own_settings_only(desk: Desk, stripes: Path, copy: str) -> None:
    ended = desk.resume(copy, stripes, "--epochs", "9", "--lr-head", "1", "--workers", "0")
    assert ended.status == 2
    assert "--epochs, --lr-head, DATA can't be changed" in ended.output
    assert not (desk.folder / copy / "model.safetensors").exists()


def test_a_run_in_training_is_refused_to_others(desk: Desk, copy: str) -> None:
    running = desk.start("finetune", "--resume", copy, faults=[wait_in_step(1)])
    wait_for(desk.folder / "waiting")
    ended = desk.resume(copy)
    assert ended.status == 11
    assert f"{copy} is being trained by another process" in ended.output
    (desk.folder / "waiting").unlink()
    assert running.ended().status == 0


def test_who_comes_too_late_for_its_own_run_leaves_it_to_who_has_it(
    tmp_path: Path, stripes: Path
) -> None:
    desk = Desk(tmp_path)
    slow = [partial(wait_at, "toolchain.training.finetune:run_lock", 1, "slow")]
    late = desk.start("finetune", stripes, *HEAD, "-o", "run", faults=slow)
    wait_for(tmp_path / "slow")
    other = desk.start("finetune", "--resume", "run", faults=[wait_in_step(1)])
    wait_for(tmp_path / "waiting")
    (tmp_path / "slow").unlink()
    assert late.ended().status == 11
    (tmp_path / "waiting").unlink()
    ended = other.ended()
    assert ended.status == 0, ended.output
    assert len(outcome(tmp_path / "run").metrics) == 4  # three epochs and the summary
