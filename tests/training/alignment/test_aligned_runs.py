"""Trainings for another camera: what they write, what they refuse, and that they resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.conftest import RANDOM_WEIGHTS, Rtl, draw_stripes, tree_digest
from tests.made_once import made_once
from tests.training.sandbox import (
    COMMON,
    EACH_EPOCH,
    PARTIAL,
    Sandbox,
    killed_in_step,
    outcome,
)
from toolchain.errors import DataError, Interrupted, SettingsError, TrainingError
from toolchain.runs.alignment import read_alignment
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings_file import gather_settings, read_settings, settings_toml
from toolchain.training.finetune import finetune, resume
from toolchain.training.stopped_run import explain_stop

LABELLED = "file,label\nacross-00.jpg,across\naslant-00.jpg,aslant\ndown-00.jpg,down\n"


def draw_dark(folder: Path) -> None:
    """Draw photographs of a dark camera; three of them have labels."""
    for number, label in enumerate(("across", "aslant", "down")):
        for i in range(8):
            path = folder / f"{label}-{i:02}.jpg"
            draw_stripes(path, label, 3000 + number + 3 * i)
            pixels = np.asarray(Image.open(path)) // 4
            Image.fromarray(pixels).save(path, quality=90)
    (folder / "labels.csv").write_text(LABELLED)


@pytest.fixture(scope="module")
def dark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of another camera, which no test changes."""
    return made_once(tmp_path_factory, "dark", draw_dark)


def small(stripes: Path, dark: Path, **given: Any) -> dict[str, Any]:
    return {
        "data": str(stripes),
        "target": str(dark),
        "weights": str(RANDOM_WEIGHTS),
        "strategy": "partial",
        "freeze_until": "16",
        "size": 32,
        "epochs": 1,
        "batch_size": 16,
        "augment": "none",
        "workers": 0,
    } | given


@pytest.mark.parametrize(
    ("align", "given"),
    [
        ("bn", {"strategy": "head"}),
        ("mcc", {"strategy": "head", "accumulate": 2}),
        ("mmd", {"cache": False, "ema": 0.5}),
        ("coral", {"precision": "bf16"}),
        ("dann", {"optimizer": "sgd", "clip_norm": 1.0}),
        ("none", {}),
    ],
)
def test_every_alignment_trains_and_says_to_what(
    stripes: Path, dark: Path, tmp_path: Path, no_plots: None, align: str, given: dict[str, Any]
) -> None:
    before = tree_digest(dark)
    result = finetune(
        read_settings(None, small(stripes, dark, align=align, **given)), tmp_path / "run"
    )
    assert tree_digest(dark) == before
    record = read_alignment(result.run)
    assert record is not None
    assert record.labelled is not None
    assert record.labelled.images == 3
    assert (record.labelled.with_statistics is None) == (align == "none")
    assert align == "none" or (result.summary.temperature, result.summary.findings) == (1.0, [])
    found = record.alignment
    assert (found.method, found.target_images, found.labelled_images) == (align, 24, 3)
    card = json.loads(result.run.card.read_text())
    assert card["aligned"]["target_sha256"] == found.target_sha256
    assert ("kept epoch" in repr(result)) == (align != "none")
    assert str(dark) not in result.run.card.read_text()


def test_the_norms_of_frozen_layers_have_the_targets_statistics(
    stripes: Path, dark: Path, tmp_path: Path, no_plots: None
) -> None:
    run = finetune(read_settings(None, small(stripes, dark)), tmp_path / "run").run
    aligned, start = load_file(run.weights), load_file(RANDOM_WEIGHTS)
    for key in ("running_mean", "running_var"):
        assert not torch.equal(aligned[f"network.bn1.{key}"], start[f"bn1.{key}"])
    assert torch.equal(aligned["network.conv1.weight"], start["conv1.weight"])


RECIPES = {
    "kept features": ["--align", "dann", *PARTIAL, "--ema", "0.5", "--views", "2"],
    "pixels": ["--align", "mmd", "--strategy", "two-stage", "--head-epochs", "1", "--no-cache"],
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_killed_run_resumes_to_the_same_weights(
    sandbox: Sandbox, stripes: Path, dark: Path, recipe: str
) -> None:
    words = [*COMMON, "--target", dark, *RECIPES[recipe]]
    whole = sandbox.never_stopped(stripes, *words)
    faults = [EACH_EPOCH, killed_in_step(5)]
    ended = sandbox.finetune(stripes, *words, faults=faults, output=recipe)
    assert ended.status == -9, ended.output
    settings = sandbox.folder / recipe / "settings.toml"
    moved = shutil.copytree(dark, sandbox.folder / f"moved {recipe}")
    settings.write_text(settings.read_text("utf-8").replace(str(dark), str(moved)), "utf-8")
    ended = sandbox.resume(recipe)
    assert ended.status == 0, ended.output
    assert outcome(sandbox.folder / recipe) == whole


def test_photographs_that_are_gone_are_asked_for_by_the_file_that_names_them(
    stripes: Path, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    run.create(settings_toml(read_settings(None, small(stripes, tmp_path / "gone"))))
    with pytest.raises(DataError, match="gone: the photographs that") as it:
        resume(run.path)
    assert str(it.value.hint).endswith(f"as target into {run.settings}")


@pytest.mark.parametrize(("aligner", "which"), [(None, "best"), (object(), "last")])
def test_what_a_stopped_run_keeps_is_said(tmp_path: Path, aligner: object, which: str) -> None:
    setup = SimpleNamespace(processes=SimpleNamespace(count=1))
    trainer: Any = SimpleNamespace(epoch=3, model_written=True, aligner=aligner, setup=setup)
    message = f"the {which} of 3 epochs is kept"
    with (
        pytest.raises(Interrupted, match=message),
        explain_stop(RunFolder(tmp_path), trainer),
    ):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"strategy": "head", "align": "mmd"}, "align: strategy head trains nothing before"),
        ({"target": "", "align": "mmd"}, "align: mmd needs photographs of the other camera"),
        ({"mixup": 0.2}, "target: MixUp and CutMix"),
        ({"compile": True}, "target: .*not compiled"),
        ({"task": "multi-label"}, "target: .*multi-label"),
        ({"strategy": "auto"}, "target: auto, a budget and --try"),
        ({"strategy": "lora"}, "target: a delta holds"),
        ({"batch_size": 2}, "batch_size: two cameras are compared"),
        ({"schedule": "plateau"}, "schedule: plateau goes by the validation images"),
    ],
)
def test_what_cannot_be_aligned_is_refused_with_what_would_work(
    stripes: Path, dark: Path, given: dict[str, Any], words: str
) -> None:
    values = small(stripes, dark) | given
    if "freeze_until" not in given and values["strategy"] == "auto":
        del values["freeze_until"]
    with pytest.raises(SettingsError, match=words) as raised:
        read_settings(None, values)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("given", "schedule", "said"),
    [
        ({}, "cosine", True),
        ({"schedule": "step"}, "step", False),
        ({"align": "none"}, "plateau", False),
        ({"target": ""}, "plateau", False),
    ],
)
def test_rates_do_not_go_by_images_of_the_old_camera(
    stripes: Path, dark: Path, given: dict[str, Any], schedule: str, said: bool
) -> None:
    chosen = gather_settings(None, small(stripes, dark) | given)
    assert chosen.settings.schedule == schedule
    assert any("rates fall as a cosine" in note for note in chosen.notes) == said


def test_what_an_aligned_run_reaches_on_its_own_camera_is_asked_for(
    rtl_here: Rtl, stripes: Path, dark: Path, tmp_path: Path
) -> None:
    words = [f"--{key.replace('_', '-')}={value}" for key, value in small(stripes, dark).items()]
    trained = rtl_here("finetune", *words[1:], stripes, "-o", "aligned")
    assert trained.returncode == 0, trained.stderr
    assert "next: rtl evaluate aligned --data LABELLED_PHOTOGRAPHS" in trained.stderr
    evaluated = rtl_here("evaluate", "aligned")
    assert "the model is for another camera, these images are not of it" in evaluated.stderr
    photographs = tmp_path / "by class" / "across"
    photographs.mkdir(parents=True)
    shutil.copy(dark / "across-07.jpg", photographs)
    evaluated = rtl_here("evaluate", "aligned", "--data", photographs.parent)
    assert evaluated.returncode == 0, evaluated.stderr
    assert "another camera" not in evaluated.stderr


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({}, "--target FOLDER --strategy partial or --align auto"),
        ({"strategy": "partial"}, "--target FOLDER or --align auto"),
        ({"align": "mcc"}, "--target FOLDER or --align auto"),
    ],
)
def test_an_alignment_without_photographs_asks_for_their_folder(
    given: dict[str, Any], hint: str
) -> None:
    words = {"data": "photos", "align": "mmd"} | given
    with pytest.raises(SettingsError) as raised:
        gather_settings(None, words, options=True)
    assert raised.value.hint == hint
    aligned, plain = (
        gather_settings(None, words | change, options=True) for change in raised.value.instead
    )
    assert aligned.settings.target
    assert not plain.settings.target  # such as of a run's settings.toml, with --target ''


@pytest.mark.parametrize("mode", ["--lr-find", "--cv=2", "--try=strategies"])
def test_what_trains_no_model_to_keep_takes_no_target(
    rtl_here: Rtl, stripes: Path, dark: Path, mode: str
) -> None:
    done = rtl_here(
        "finetune", stripes, "--target", dark, "--weights", RANDOM_WEIGHTS, "--size", 32, mode
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: --target: ")
    assert "hint: " in done.stderr


def test_a_run_is_not_written_into_the_targets_folder(stripes: Path, dark: Path) -> None:
    before = tree_digest(dark)
    with pytest.raises(DataError, match=r"inside the folder .* of --target"):
        finetune(read_settings(None, small(stripes, dark)), dark / "run")
    assert tree_digest(dark) == before


def test_several_processes_are_refused(
    stripes: Path, dark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolchain.training.alignment.begin import require_one_process

    monkeypatch.setenv("WORLD_SIZE", "2")
    settings = read_settings(None, small(stripes, dark))
    with pytest.raises(TrainingError, match="--target trains in one process"):
        require_one_process(settings)
    assert not RunFolder(tmp_path / "run").path.exists()
