"""What surrounds a training can end it, and never loses its best epoch: signals, memory, disks."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

from tests.conftest import ROOT
from tests.training.sandbox import (
    COMMON,
    EACH_EPOCH,
    HEAD,
    TWO_LAYERS,
    Fault,
    Sandbox,
    at_call,
    outcome,
    replace,
)
from toolchain.cli.signals import stop_on_signals
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.finetune import _create
from toolchain.training.first_files import FirstFiles

STEP = "toolchain.training.loop:Stepper.update"
SAVE = "toolchain.training.checkpoints:Checkpoints.save"


def at_step(number: int, action: Callable[[], None]) -> Fault:
    return partial(at_call, STEP, number, action)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def kill_workers() -> None:
    for worker in multiprocessing.active_children():
        worker.kill()


def full(*_: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device", "checkpoints/epoch-0002")


def _always_full(_: Any) -> Callable[..., NoReturn]:
    return full


def fails_at(where: str, number: int) -> None:
    at_call(where, number, full)


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_stops_training_as_ctrl_c_does(
    sandbox: Sandbox, stripes: Path, name: str, status: int
) -> None:
    faults = [stop_on_signals, EACH_EPOCH, at_step(5, partial(send, getattr(signal, name)))]
    ended = sandbox.finetune(stripes, *HEAD, faults=faults, output=name)
    assert ended.status == status
    assert f"error: stopped by {name}; the best of 1 epoch is kept in {name}" in ended.output
    assert ended.hint == f"rtl finetune --resume {name}"
    assert sandbox.resume(name).status == 0
    assert outcome(sandbox.folder / name) == sandbox.never_stopped(stripes, *HEAD)


def test_killed_workers_keep_the_best_epoch_and_the_hint_names_the_way_on(
    sandbox: Sandbox, stripes: Path
) -> None:
    words = [*TWO_LAYERS, "--no-cache", "--augment", "s1", "--workers", "2"]
    ended = sandbox.finetune(stripes, *words, faults=[at_step(4, kill_workers)], output="worker")
    assert ended.status == 11, ended.output
    assert "perhaps because memory ran out; the best of 1 epoch is kept" in ended.output
    assert ended.hint == "rtl finetune --resume worker --workers 1"
    assert "Traceback" not in ended.output
    assert "bug in rtl" not in ended.output
    assert (sandbox.folder / "worker" / "model.safetensors").is_file()


def test_a_disk_that_fills_up_keeps_the_best_epoch_and_the_run_can_go_on(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults: list[Fault] = [EACH_EPOCH, partial(fails_at, SAVE, 2)]
    ended = sandbox.finetune(stripes, *HEAD, faults=faults, output="full")
    assert ended.status == 11
    assert "no space left on device; the best of 2 epochs is kept in full" in ended.output
    assert ended.hint == "make room, then rtl finetune --resume full"
    assert sandbox.rtl("evaluate", "full").status == 0
    assert sandbox.resume("full").status == 0
    whole = sandbox.never_stopped(stripes, *HEAD)
    assert outcome(sandbox.folder / "full").weights == whole.weights


def small_disk() -> None:
    """Let the disk have room for the model and not for a checkpoint."""
    replace("shutil:disk_usage", lambda _: lambda _: SimpleNamespace(free=1000))


def test_a_disk_without_room_for_checkpoints_still_gets_the_model(
    sandbox: Sandbox, stripes: Path
) -> None:
    words = [*COMMON, "--strategy", "head", "--dropout", "0.4", "--augment", "none", "--no-cache"]
    ended = sandbox.finetune(stripes, *words, faults=[EACH_EPOCH, small_disk], output="small")
    assert ended.status == 0, ended.output
    assert ended.output.count("no room for a checkpoint") == 1
    assert not (sandbox.folder / "small" / "checkpoints").exists()
    assert outcome(sandbox.folder / "small") == sandbox.never_stopped(stripes, *words)


def test_a_disk_without_room_for_the_model_is_found_before_training(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults = [partial(replace, "os:posix_fallocate", _always_full)]
    ended = sandbox.finetune(stripes, *HEAD, faults=faults, output="tiny")
    assert ended.status == 11
    assert "error: tiny has no room for the model: it takes 46." in ended.output
    assert "epoch 1" not in ended.output
    assert not (sandbox.folder / "tiny").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_can_not_be_written_does_not_stop_training(
    stripes: Path, tmp_path: Path
) -> None:
    words = [*HEAD, "--epochs", "1", "--workers", "0", "-o", "run"]
    command = [sys.executable, "-m", "toolchain", "finetune", str(stripes), *words]
    done = subprocess.run(
        ["bash", "-c", '"$@" 2>/dev/full | true; exit ${PIPESTATUS[0]}', "-", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"},
        check=False,
    )
    assert done.returncode == 12
    files = {file.name for file in (tmp_path / "run").iterdir()}
    assert {"model.safetensors", "card.json", "curves.png", "metrics.jsonl"} <= files
    assert "checkpoints" not in files


def test_names_of_any_bytes_are_trained_and_evaluated(sandbox: Sandbox, stripes: Path) -> None:
    data = os.fsencode(sandbox.folder) + b"/d\xe9\x7f'\"\n\xe2\x80\xae"
    for split in (b"train", b"val"):
        for name, source in ((b"caf\xe9\x7f", "across"), (b"\"q\n'", "down")):
            (folder := Path(os.fsdecode(b"/".join((data, split, name))))).mkdir(parents=True)
            for image in (stripes / split.decode() / source).iterdir():
                shutil.copy(image, folder / os.fsdecode(b"\xff\n" + image.name.encode()))
    run, words = os.fsdecode(b"run \xe9\x7f"), [*HEAD, "--epochs", "1"]
    ended = sandbox.finetune(os.fsdecode(data), *words, output=run)
    assert ended.status == 0, ended.output
    folder = sandbox.folder / run
    settings = tomllib.loads((folder / "settings.toml").read_text(encoding="utf-8"))
    assert settings["data"].endswith("/d%E9%7F%27%22%0A%E2%80%AE")
    classes = json.loads((folder / "card.json").read_text(encoding="utf-8"))["classes"]
    assert classes == ["\"q\n'", "caf\\xe9\x7f"]
    ended = sandbox.rtl("evaluate", run)
    assert ended.status == 0, ended.output
    results = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))["results"]
    assert len(results) == 16
    assert results[-1]["file"].startswith("val/caf\\xe9\x7f/\\xff\n")


def test_two_runs_without_a_name_at_once_get_two_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = FinetuneSettings(data="photos")
    first, second = (RunFolder(f"runs/photos-{settings.arch}-{settings.strategy}") for _ in "12")
    made = [_create(run, FirstFiles("seed = 0\n"), settings, True) for run in (first, second)]
    assert [run.path.name for run in made] == [first.path.name, f"{first.path.name}-2"]


def test_an_output_inside_the_data_is_refused_before_the_images_are_read(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults: list[Fault] = [partial(at_call, "toolchain.training.data:audit_dataset", 1, full)]
    ended = sandbox.finetune(stripes, *HEAD, faults=faults, output=str(stripes / "run"))
    assert ended.status == 3
    assert "lies inside the data folder" in ended.output
