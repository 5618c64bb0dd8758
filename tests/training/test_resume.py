"""Runs that are killed: `--resume` ends with the weights of a run that was never stopped."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.training.sandbox import (
    COMMON,
    EACH_EPOCH,
    HEAD,
    PARTIAL,
    SMALL,
    Ended,
    Fault,
    Outcome,
    Sandbox,
    at_call,
    checkpoint_after,
    kill,
    killed_at,
    killed_in_step,
    killed_with_half,
    outcome,
)
from toolchain.networks.resnet import build_network
from toolchain.networks.weights import weights_bytes

WRITE = "toolchain.training.checkpoints:write_bytes"
"""Called twice for the starting weights, then for tensors and record of each checkpoint."""


@pytest.mark.parametrize(
    ("fault", "resumes_in"),
    [
        pytest.param(killed_at("toolchain.training.finetune:run_lock"), 1, id="only settings"),
        pytest.param(killed_in_step(2), 1, id="first epoch"),
        pytest.param(killed_with_half("epoch-0001.safetensors"), 1, id="half the first tensors"),
        pytest.param(killed_with_half("epoch-0002.safetensors"), 2, id="half the tensors"),
        pytest.param(killed_at(WRITE, 6), 2, id="before the record"),
        pytest.param(killed_with_half("epoch-0002.json"), 2, id="half the record"),
        pytest.param(killed_at(WRITE, 6, after=True), 3, id="before the older is removed"),
        pytest.param(
            killed_at("toolchain.runs.runfolder:RunFolder.write_card"), 4, id="before card"
        ),
        pytest.param(
            killed_at("toolchain.runs.runfolder:RunFolder.drop_checkpoints"),
            4,
            id="before cleaning",
        ),
    ],
)
def test_a_run_ends_with_the_same_weights_wherever_it_was_killed(
    sandbox: Sandbox, stripes: Path, tmp_path: Path, fault: Fault, resumes_in: int
) -> None:
    name = tmp_path.name
    assert sandbox.finetune(stripes, *HEAD, faults=[EACH_EPOCH, fault], output=name).status == -9
    ended = sandbox.resume(name)
    assert ended.status == 0, ended.output
    assert trained_epochs(ended) == [1, 2, 3][resumes_in - 1 :]
    assert outcome(sandbox.folder / name) == sandbox.never_stopped(stripes, *HEAD)


def trained_epochs(ended: Ended) -> list[int]:
    """Return the epochs that were reported."""
    return [int(number) for number in re.findall(r"^epoch +(\d+)/", ended.output, re.MULTILINE)]


def test_epochs_after_the_last_checkpoint_are_trained_again(
    sandbox: Sandbox, stripes: Path
) -> None:
    faults = [checkpoint_after(1), killed_in_step(8)]
    sandbox.finetune(stripes, *HEAD, faults=faults, output="rare")
    ended = sandbox.resume("rare")
    assert trained_epochs(ended) == [2, 3]
    assert outcome(sandbox.folder / "rare") == sandbox.never_stopped(stripes, *HEAD)


def test_a_half_written_model_file_is_removed(sandbox: Sandbox, stripes: Path) -> None:
    faults = [killed_with_half("model.safetensors")]
    assert sandbox.finetune(stripes, *HEAD, faults=faults, output="half").status == -9
    assert sandbox.resume("half").status == 0
    whole = sandbox.never_stopped(stripes, *HEAD)
    assert outcome(sandbox.folder / "half").weights == whole.weights
    assert outcome(sandbox.folder / "half").files == whole.files


RECIPES = {
    "pixels": [
        *("--strategy", "full", "--augment", "s1", "--dropout", "0.3", "--ema", "0.9"),
        *("--schedule", "one-cycle", "--optimizer", "sgd", "--mixup", "0.4", "--cutmix", "1"),
        *("--balanced-sampling", "--loss", "focal", "--class-weights", "--clip-norm", "1"),
    ],
    "growing images": [
        *("--strategy", "full", "--size", "48", "--start-size", "32"),
        *("--start-size-epochs", "2", "--augment", "s3"),
    ],
    "two-stage": [
        *("--strategy", "two-stage", "--head-epochs", "1", "--freeze-until", "16"),
        *("--optimizer", "adamw", "--schedule", "cosine", "--warmup-epochs", "1"),
        *("--dropout", "0.3", "--ema", "0.5", "--augment", "turns", "--views", "2"),
    ],
    "progressive": [
        *("--strategy", "progressive", "--unfreeze-every", "1", "--unfreeze-layers", "1"),
        *("--schedule", "plateau", "--plateau-patience", "0", "--metric", "loss"),
        *("--lr-head", "0.1", "--early-stopping", "5", "--batch-size", "8", "--accumulate", "2"),
    ],
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_continues_bit_for_bit_however_often_it_is_killed(
    sandbox: Sandbox, stripes: Path, recipe: str
) -> None:
    words = [*COMMON, *RECIPES[recipe]]
    whole = sandbox.never_stopped(stripes, *words, "--workers", "0")
    # Three steps an epoch. It is killed in the second epoch, resumed, and killed in the third.
    faults = [EACH_EPOCH, killed_in_step(5)]
    ended = sandbox.finetune(stripes, *words, "--workers", "2", faults=faults, output=recipe)
    assert ended.status == -9, ended.output
    ended = sandbox.resume(recipe, faults=[EACH_EPOCH, killed_in_step(5)])
    assert ended.status == -9, ended.output
    ended = sandbox.resume(recipe, "--workers", "1")
    assert ended.status == 0, ended.output
    assert trained_epochs(ended) == [3]
    assert outcome(sandbox.folder / recipe) == whole


@pytest.fixture(scope="module")
def finished_with_checkpoints(sandbox: Sandbox, stripes: Path) -> Path:
    """A run that was killed at its very end, before its checkpoints were removed."""
    faults = [killed_at("toolchain.runs.runfolder:RunFolder.drop_checkpoints")]
    assert sandbox.finetune(stripes, *HEAD, faults=faults, output="uncleaned").status == -9
    return sandbox.folder / "uncleaned"


@pytest.mark.parametrize(
    "gone",
    [
        "lock",
        "epoch-0003.json",
        "epoch-0003.safetensors",
        "start.json",
        "start.safetensors",
    ],
)
def test_a_run_is_resumed_whichever_checkpoint_file_was_removed_first(
    sandbox: Sandbox, stripes: Path, finished_with_checkpoints: Path, gone: str
) -> None:
    name = f"without {gone}"
    shutil.copytree(finished_with_checkpoints, sandbox.folder / name)
    (sandbox.folder / name / "checkpoints" / gone).unlink()
    ended = sandbox.resume(name)
    assert ended.status == 0, ended.output
    assert outcome(sandbox.folder / name) == sandbox.never_stopped(stripes, *HEAD)


def test_a_run_killed_while_its_checkpoints_are_removed_has_finished(
    sandbox: Sandbox, stripes: Path
) -> None:
    fault = partial(at_call, "shutil:rmtree", 1, kill)
    faults = [partial(at_call, "toolchain.runs.runfolder:RunFolder.drop_checkpoints", 1, fault)]
    assert sandbox.finetune(stripes, *HEAD, faults=faults, output="removing").status == -9
    ended = sandbox.resume("removing")
    assert ended.status == 11
    assert "has finished" in ended.output
    assert sandbox.rtl("evaluate", "removing").status == 0
    whole = sandbox.never_stopped(stripes, *HEAD)
    assert outcome(sandbox.folder / "removing").weights == whole.weights


def test_a_run_is_not_resumed_from_a_damaged_checkpoint(
    sandbox: Sandbox, stripes: Path, copy: str
) -> None:
    tensors = sandbox.folder / copy / "checkpoints" / "epoch-0002.safetensors"
    damaged = bytearray(tensors.read_bytes())
    damaged[-1] ^= 1
    tensors.write_bytes(damaged)
    assert sandbox.resume(copy).status == 0
    assert outcome(sandbox.folder / copy) == sandbox.never_stopped(stripes, *HEAD)


@pytest.fixture(scope="module")
def from_file(sandbox: Sandbox, stripes: Path) -> tuple[Path, Outcome]:
    """A killed run that began with a weights file, now gone, and its uninterrupted outcome."""
    torch.manual_seed(123)
    start = sandbox.folder / "start.safetensors"
    start.write_bytes(weights_bytes(build_network("resnet18", 3).state_dict()))
    words = [*SMALL, *PARTIAL, "--weights", start, "--augment", "none", "--head-stages", "all"]
    whole = sandbox.never_stopped(stripes, *words)
    faults = [EACH_EPOCH, killed_in_step(8)]
    assert sandbox.finetune(stripes, *words, faults=faults, output="from file").status == -9
    start.rename(sandbox.folder / "gone.safetensors")
    return sandbox.folder / "from file", whole


def test_resuming_from_a_checkpoint_does_not_need_the_weights_file(
    sandbox: Sandbox, from_file: tuple[Path, Outcome]
) -> None:
    shutil.copytree(from_file[0], sandbox.folder / "without file")
    ended = sandbox.resume("without file")
    assert ended.status == 0, ended.output
    assert outcome(sandbox.folder / "without file") == from_file[1]


def test_a_run_without_a_checkpoint_restarts_from_its_weights_file_or_is_refused(
    sandbox: Sandbox, from_file: tuple[Path, Outcome]
) -> None:
    shutil.copytree(from_file[0], sandbox.folder / "over")
    tensors = sandbox.folder / "over" / "checkpoints" / "epoch-0002.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    ended = sandbox.resume("over")
    assert ended.status == 11 or outcome(sandbox.folder / "over").weights == from_file[1].weights


def test_a_killed_run_can_be_moved(sandbox: Sandbox, stripes: Path, copy: str) -> None:
    (sandbox.folder / "else where").mkdir()
    (sandbox.folder / copy).rename(sandbox.folder / "else where" / "it's here")
    assert sandbox.resume("else where/it's here").status == 0
    moved = outcome(sandbox.folder / "else where" / "it's here")
    assert moved == sandbox.never_stopped(stripes, *HEAD)
