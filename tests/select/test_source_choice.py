"""Several `--weights`: the one whose features serve the images is taken, and it says why."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import Rtl
from toolchain.data.audit import audit_dataset
from toolchain.data.layouts import read_dataset
from toolchain.errors import TrainingError
from toolchain.progress import SilentReporter
from toolchain.runs.settings_file import read_settings
from toolchain.runs.source_models import SourceModel
from toolchain.select import source_choice
from toolchain.select.comparison import Candidate, rank
from toolchain.select.source_choice import choose_source, trained_on

SMALL = ("--size", 64, "--workers", 0, "--epochs", 1, "--batch-size", 16)


@pytest.mark.parametrize("strategy", ["head", "partial"])
def test_the_source_that_knows_the_images_is_taken(
    strategy: str, rtl_here: Rtl, stripes: Path, random_weights: Path, shared_run: Path
) -> None:
    weights = ("--weights", random_weights, "--weights", shared_run)
    done = rtl_here("finetune", stripes, *weights, "--strategy", strategy, *SMALL)
    assert done.returncode == 0, done.stderr
    assert f"source model: {shared_run} (resnet18): " in done.stderr
    assert ("a short fine-tuning" in done.stderr) == (strategy == "partial")
    assert "it was trained on 48 of these images, so its figures are too good" in (done.stderr)


def test_an_architecture_is_read_from_the_file(
    rtl_here: Rtl, stripes: Path, random_weights: Path, tmp_path: Path
) -> None:
    words = ("--arch", "auto", "--weights", random_weights, "-o", "run", *SMALL)
    done = rtl_here("finetune", stripes, *words)
    assert done.returncode == 0, done.stderr
    assert tomllib.loads((tmp_path / "run/settings.toml").read_text())["arch"] == "resnet18"
    assert not (tmp_path / "run/selection.json").exists()


def candidates(**right: str) -> list[Candidate]:
    """Return candidates from texts of 0 and 1, one an image; the digit of a name is its size."""
    return [
        Candidate(name, np.array([c == "1" for c in text]), float(name[-1]), {})
        for name, text in right.items()
    ]


def test_of_a_tie_the_smaller_network_is_taken_and_of_equals_the_better() -> None:
    tie = rank(candidates(large2="1" * 19 + "0", small1="1" * 18 + "00"))
    assert tie.chosen.name == "small1"
    assert source_choice._why(tie) == (
        "can't tell its probe from that of large2, and it is the smaller network"
    )
    equal = rank(candidates(a1="1" * 18 + "00", b1="1" * 19 + "0"))
    assert equal.chosen.name == "b1"
    assert "can't tell it from a1" in source_choice._why(equal)


def test_of_equally_large_networks_that_cannot_be_told_apart_the_cross_entropy_decides() -> None:
    found = candidates(often1="1" * 19 + "0", surer1="1" * 18 + "00", large2="1" * 18 + "00")
    losses = {"often1": 0.31, "surer1": 0.22, "large2": 0.2}
    ranking = rank([replace(each, loss=losses[each.name]) for each in found])
    assert ranking.chosen.name == "surer1"
    assert source_choice._why(ranking) == (
        "its probe has the lowest cross entropy of the smaller networks, 0.220 nats; "
        "can't tell it from often1 (0.310 nats), large2 (0.200 nats)"
    )
    # What is shown to be worse is not taken, however sure it is of the rest.
    shown = candidates(right1="1" * 20, wrong1="1" * 10 + "0" * 10)
    assert rank([shown[0], replace(shown[1], loss=-1.0)]).chosen.name == "right1"


def test_imagenet_weights_that_cannot_be_had_are_left_out_and_named(
    stripes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def start(settings: Any, *_: object) -> str:
        if settings.arch != "resnet34":
            raise TrainingError(f"ImageNet weights of {settings.arch} are not cached")
        return "weights"

    class Lines(SilentReporter):
        def message(self, text: str) -> None:
            told.append(text)

    monkeypatch.setattr(source_choice, "make_starting_weights", start)
    settings = read_settings(None, {"data": str(stripes)})
    models = [SourceModel("imagenet", arch) for arch in ("resnet18", "resnet34", "resnet50")]
    chosen = choose_source(models, settings, read_dataset(stripes), torch.device("cpu"), Lines())
    assert chosen.settings.arch == "resnet34"
    assert [text[:50] for text in told] == [
        "left out of the source models: ImageNet weights of",
        "left out of the source models: ImageNet weights of",
    ]


def test_a_file_that_is_no_weights_file_is_one_line(
    rtl_here: Rtl, stripes: Path, random_weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.pth").write_text("no weights")
    words = ("--weights", random_weights, "--weights", "notes.pth", *SMALL)
    done = rtl_here("finetune", stripes, *words)
    assert done.returncode == 11, done.stderr
    assert "notes.pth" in done.stderr.splitlines()[-2]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "others"),
    [((), 1), ((), 0), (("--cv", "3"), 0), (("--lr-find",), 0), (("--try", "strategies"), 0)],
)
def test_missing_weights_are_refused_before_an_image_is_read(
    words: tuple[str, ...],
    others: int,
    rtl_here: Rtl,
    stripes: Path,
    random_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read(*_: object, **__: object) -> None:
        raise AssertionError("the images were read")

    for reader in ("training.finetune", "training.lr_find", "select.inputs"):
        monkeypatch.setattr(f"toolchain.{reader}.read_data", read)
    weights = [word for file in [random_weights] * others for word in ("--weights", file)]
    done = rtl_here("finetune", stripes, *weights, "--weights", "gone.pth", *words, *SMALL)
    assert done.returncode == 11, done.stderr
    assert "gone.pth: no such weights file" in done.stderr


def test_the_run_says_how_its_source_was_chosen(
    rtl_here: Rtl, stripes: Path, random_weights: Path, shared_run: Path, tmp_path: Path
) -> None:
    weights = ("--weights", random_weights, "--weights", shared_run)
    done = rtl_here("finetune", stripes, *weights, "--strategy", "auto", "--json", *SMALL)
    assert done.returncode == 0, done.stderr
    [run] = (tmp_path / "runs").iterdir()
    assert run.name.endswith("-auto-auto")
    text = (run / "settings.toml").read_text()
    settings, selection = tomllib.loads(text), json.loads((run / "selection.json").read_text())
    assert settings["weights"] == selection["source"]["chosen"]["weights"] == str(shared_run)
    rows = selection["source"]["measured"]
    assert rows[0]["verdict"] == "chosen"
    assert rows[1]["verdict"] in ("tie", "worse")
    assert rows[0]["correct"] > rows[1]["correct"]
    assert json.loads(done.stdout)["selection"] == selection
    assert "# Chosen, as selection.json says" in text.partition("\nweights =")[0].splitlines()[-1]


def test_whose_images_a_run_was_trained_on_is_known_by_its_files(
    stripes: Path, shared_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = audit_dataset(read_dataset(stripes))[0].train
    assert trained_on(str(shared_run), samples) == len(samples)
    assert trained_on(str(shared_run / "model.safetensors"), samples) == len(samples)
    (tmp_path / "other.pth").write_bytes(b"weights")
    assert trained_on(str(tmp_path / "other.pth"), samples) == 0
    monkeypatch.chdir(shared_run)  # a name is no file of the folder that one is in
    assert trained_on("imagenet", samples) == 0
