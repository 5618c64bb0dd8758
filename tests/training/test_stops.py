"""Training that stops without a kill: Ctrl-C, a full disk, a NaN loss, another run."""

from __future__ import annotations

import itertools
import math
import os
import re
import shlex
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.sandbox import (
    COMMON,
    EACH_EPOCH,
    HEAD,
    TWO_LAYERS,
    Ended,
    Fault,
    Sandbox,
    at_call,
    checkpoint_after,
    empty_disk,
    fill_disk,
    killed_in_step,
    meet,
    outcome,
    replace,
    wait_for,
    wait_in_step,
)

STEP = "toolchain.training.loop:Stepper.update"


def interrupt() -> None:
    """Interrupt this process as Ctrl-C does."""
    os.kill(os.getpid(), signal.SIGINT)


def interrupted_at(where: str, number: int = 1, *, after: bool = False) -> Fault:
    return partial(at_call, where, number, interrupt, after=after)


def error_of(ended: Ended) -> str:
    """Return the error: one line, followed by a hint at most, without a traceback."""
    assert "Traceback" not in ended.output
    lines = ended.output.splitlines()
    (place,) = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert len(lines) - place <= 2, ended.output
    return lines[place].removeprefix("error: ")


def test_after_ctrl_c_the_run_can_be_evaluated_and_the_hint_resumes_it(
    sandbox: Sandbox, stripes: Path
) -> None:
    words = [*TWO_LAYERS, "--no-cache", "--augment", "s1", "--workers", "2"]
    faults: list[Fault] = [checkpoint_after(1), wait_in_step(8)]
    running = sandbox.start("finetune", stripes, *words, "-o", "it's mine", faults=faults)
    wait_for(sandbox.folder / "waiting")
    os.killpg(
        running.process.pid or 0, signal.SIGINT
    )  # as a terminal does: the workers receive it too
    ended = running.ended()
    assert ended.status == 130
    assert error_of(ended) == "interrupted; the best of 2 epochs is kept in it's mine"
    assert sandbox.rtl("evaluate", "it's mine").status == 0
    command = shlex.split(ended.hint)
    assert command == ["rtl", "finetune", "--resume", "it's mine"]
    assert sandbox.rtl(*command[1:]).status == 0
    resumed, whole = outcome(sandbox.folder / "it's mine"), sandbox.never_stopped(stripes, *words)
    assert (resumed.weights, resumed.metrics) == (whole.weights, whole.metrics)


def test_repeated_ctrl_c_loses_nothing(sandbox: Sandbox, stripes: Path) -> None:
    faults = [EACH_EPOCH, interrupted_at(STEP, 5)]
    for start in (
        partial(sandbox.finetune, stripes, *HEAD, output="often"),
        partial(sandbox.resume, "often"),
    ):
        ended = start(faults=faults)
        assert (ended.status, ended.hint) == (130, "rtl finetune --resume often")
    assert sandbox.resume("often").status == 0
    assert outcome(sandbox.folder / "often") == sandbox.never_stopped(stripes, *HEAD)


def test_ctrl_c_while_the_model_is_written_leaves_a_resumable_run(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults = [interrupted_at("toolchain.runs.runfolder:RunFolder.write_card")]
    ended = sandbox.finetune(stripes, *HEAD, faults=faults, output="writing")
    assert (ended.status, ended.hint) == (130, "rtl finetune --resume writing")
    assert sandbox.resume("writing").status == 0
    assert outcome(sandbox.folder / "writing") == sandbox.never_stopped(stripes, *HEAD)


def test_ctrl_c_at_the_end_of_an_epoch_keeps_an_epoch_that_is_in_the_metrics(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults = [interrupted_at("toolchain.training.optim.schedules:Schedule.after_epoch", 2)]
    words = [*HEAD, "--metric", "loss"]
    assert sandbox.finetune(stripes, *words, faults=faults, output="end").status == 130
    *epochs, last = outcome(sandbox.folder / "end").metrics
    assert last["summary"]["best_epoch"] in [row["epoch"] for row in epochs]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(interrupted_at("toolchain.training.data:audit_dataset"), [], id="reading"),
        pytest.param(
            interrupted_at("toolchain.runs.runfolder:write_text"),
            [],
            id="making it",
        ),
        pytest.param(
            interrupted_at("toolchain.training.trainer:make_optimizer"),
            [],
            id="beginning",
        ),
        pytest.param(
            interrupted_at("toolchain.training.features.store:FeatureWriter.put", 9),
            ["--size", "48"],
            id="features",
        ),
        pytest.param(interrupted_at(STEP, 2), [], id="step"),
        pytest.param(interrupted_at(STEP, 2), ["--tensorboard"], id="logs"),
    ],
)
def test_ctrl_c_before_an_epoch_has_ended_leaves_no_folder(
    sandbox: Sandbox, stripes: Path, tmp_path: Path, fault: Fault, words: list[str]
) -> None:
    if "--tensorboard" in words:
        pytest.importorskip("tensorboard")
    output = f"early {tmp_path.name}"
    ended = sandbox.finetune(stripes, *HEAD, *words, faults=[fault], output=output)
    assert ended.status == 130
    assert error_of(ended) == "interrupted"
    assert list(sandbox.folder.glob(f"*{output}*")) == []
    assert shlex.split(ended.hint)[:5] == ["rtl", "finetune", str(stripes), "-o", output]


def test_the_hint_repeats_the_command_that_was_stopped(sandbox: Sandbox, stripes: Path) -> None:
    ended = sandbox.finetune(stripes, *HEAD, faults=[interrupted_at(STEP, 2)], output="once more")
    assert sandbox.rtl(*shlex.split(ended.hint)[1:]).status == 0
    assert outcome(sandbox.folder / "once more") == sandbox.never_stopped(stripes, *HEAD)


def test_ctrl_c_while_a_resumed_run_reads_images_hints_at_resuming(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults = [EACH_EPOCH, killed_in_step(5)]
    assert sandbox.finetune(stripes, *HEAD, faults=faults, output="reading").status == -9
    faults = [interrupted_at("toolchain.training.data:audit_dataset")]
    ended = sandbox.resume("reading", faults=faults)
    assert (ended.status, ended.hint) == (130, "rtl finetune --resume reading")


def full_at(where: str, number: int = 1) -> Fault:
    return partial(at_call, where, number, fill_disk)


SAVE = "toolchain.training.checkpoints:Checkpoints.save"


@pytest.mark.parametrize(
    ("where", "number"),
    [(SAVE, 3), ("toolchain.training.finetune:write_model", 1)],
    ids=["checkpoint", "model"],
)
def test_a_full_disk_keeps_the_last_checkpoint_and_hints_at_resuming(
    sandbox: Sandbox, stripes: Path, where: str, number: int
) -> None:
    run = sandbox.folder / f"full at {number}"
    faults = [EACH_EPOCH, full_at(where, number)]
    ended = sandbox.finetune(stripes, *HEAD, faults=faults, output=run.name)
    assert ended.status == 11
    assert error_of(ended).endswith(
        f"{run.name}/model.safetensors can't be written: file too large"
    )
    again = f"rtl finetune --resume '{run.name}'"
    assert ended.hint == f"make room, then {again}"
    assert not [file for file in run.rglob("*") if file.name.startswith(".")]
    assert sandbox.rtl("evaluate", run.name).hint == again
    assert sandbox.resume(run.name).status == 0
    assert outcome(run) == sandbox.never_stopped(stripes, *HEAD)


def test_after_a_disk_full_at_the_first_checkpoint_the_hint_works(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults = [full_at(SAVE)]
    ended = sandbox.finetune(stripes, *HEAD, faults=faults, output="first")
    assert ended.status == 11
    assert (sandbox.folder / "first").exists() == ("--resume first" in ended.hint)


def test_a_disk_that_is_full_from_the_beginning_leaves_no_folder(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults = [full_at("toolchain.training.checkpoints:Checkpoints.save_start")]
    ended = sandbox.finetune(stripes, *HEAD, faults=faults, output="nothing")
    assert ended.status == 11
    assert "can't be written: file too large" in error_of(ended)
    assert ended.hint == "make room, then start again"
    assert not list(sandbox.folder.glob("*nothing*"))


def test_a_run_from_cached_features_is_not_resumed_without_them(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults = [EACH_EPOCH, killed_in_step(8)]
    assert sandbox.finetune(stripes, *HEAD, faults=faults, output="kept").status == -9
    assert sandbox.rtl("cache", "clear").status == 0
    faults = [full_at("toolchain.training.features.store:FeatureWriter.put")]
    faults += [
        partial(
            at_call, "toolchain.training.stage_inputs:feature_sources", 1, empty_disk, after=True
        )
    ]
    status = sandbox.resume("kept", faults=faults).status
    assert status == 11 or outcome(sandbox.folder / "kept") == sandbox.never_stopped(stripes, *HEAD)


def test_a_run_from_pixels_for_lack_of_space_is_resumed_from_pixels(
    tmp_path: Path, stripes: Path
) -> None:
    sandbox = Sandbox(tmp_path)
    without_room: list[Fault] = [
        full_at("toolchain.training.features.store:FeatureWriter.put"),
        partial(
            at_call, "toolchain.training.stage_inputs:feature_sources", 1, empty_disk, after=True
        ),
    ]
    faults = [*without_room, EACH_EPOCH, killed_in_step(8)]
    assert sandbox.finetune(stripes, *HEAD, faults=faults, output="run").status == -9
    ended = sandbox.resume("run")
    assert ended.status == 0, ended.output
    whole = sandbox.never_stopped(stripes, *HEAD, "--no-cache")
    assert outcome(tmp_path / "run").weights == whole.weights


def break_weights(step: int) -> None:
    """Make every trained weight NaN in the n-th training step."""
    steps = itertools.count(1)

    def broken(update: Callable[[Any], None]) -> Callable[[Any], None]:
        def call(stepper: Any) -> None:
            update(stepper)
            if next(steps) == step:
                for group in stepper.optimizer.param_groups:
                    for parameter in group["params"]:
                        parameter.data.fill_(math.nan)

        return call

    replace(STEP, broken)


def test_a_nan_loss_stops_training_and_the_best_epoch_is_kept(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults = [partial(break_weights, 7)]
    ended = sandbox.finetune(stripes, *TWO_LAYERS, faults=faults, output="nan")
    assert ended.status == 11
    message = "the loss became nan in epoch 3/3; the best of 2 epochs is kept in nan"
    assert error_of(ended) == message
    assert "--lr-head" in ended.hint
    assert is_finite(sandbox.folder / "nan")
    assert sandbox.rtl("evaluate", "nan").status == 0


def test_a_nan_loss_in_the_first_epoch_leaves_no_run(sandbox: Sandbox, stripes: Path) -> None:
    faults = [partial(break_weights, 1)]
    ended = sandbox.finetune(stripes, *TWO_LAYERS, faults=faults, output="absurd")
    assert ended.status == 11
    assert re.match(r"the loss became (nan|inf) in epoch 1/3$", error_of(ended))
    assert not (sandbox.folder / "absurd").exists()


def test_weights_that_became_nan_in_the_last_step_are_not_kept(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults = [partial(break_weights, 3)]
    words = [*TWO_LAYERS, "--epochs", "1"]
    ended = sandbox.finetune(stripes, *words, faults=faults, output="broken")
    assert ended.status == 11, ended.output
    assert "epoch 1/1" in error_of(ended)
    assert not (sandbox.folder / "broken").exists()


def is_finite(run: Path) -> bool:
    tensors = load_file(run / "model.safetensors").values()
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def test_of_two_runs_into_one_folder_the_second_is_refused(tmp_path: Path, stripes: Path) -> None:
    sandbox = Sandbox(tmp_path)
    faults = [partial(at_call, "toolchain.runs.runfolder:RunFolder.create", 1, partial(meet, 2))]
    words = ["finetune", stripes, *COMMON, "--strategy", "head", "-o", "run"]
    commands = [sandbox.start(*words, "--seed", seed, faults=faults) for seed in (1, 2)]
    ended = [running.ended() for running in commands]
    assert sorted(one.status for one in ended) == [0, 11]
    winner, loser = sorted(ended, key=lambda one: one.status)
    assert error_of(loser).startswith("run exists and is not empty")
    assert "-o" in loser.hint
    seed = 1 + ended.index(winner)
    assert f"\nseed = {seed}\n" in (tmp_path / "run" / "settings.toml").read_text()
    assert len(outcome(tmp_path / "run").metrics) == 4  # three epochs and the summary
    assert sorted(path.name for path in tmp_path.glob("*run*")) == ["run"]
    assert sandbox.rtl("evaluate", "run").status == 0
