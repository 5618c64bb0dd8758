from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.test_finetune import epochs_of, small
from tests.training.test_strategies import Listener
from toolchain.cli.main import run_command
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import read_settings
from toolchain.training.finetune import finetune
from toolchain.training.finetune_result import FinetuneResult
from toolchain.training.optim import precision
from toolchain.training.optim.precision import MixedPrecision, choose_precision
from toolchain.training.trainer_state import random_state

pytestmark = pytest.mark.usefixtures("no_plots")

CPU = torch.device("cpu")
SPEEDS = {"fp32": 30.0, "fp32, channels last": 20.0, "bf16, channels last": 10.0}
"""Milliseconds of a step by precision."""


def set_speeds(monkeypatch: pytest.MonkeyPatch, speeds: dict[str, float]) -> None:
    def timed(model: Any, example: Any, mixed_precision: MixedPrecision, *rest: Any) -> float:
        return speeds[str(mixed_precision)]

    monkeypatch.setattr(precision, "_step_ms", timed)


def choose(**given: Any) -> tuple[MixedPrecision, str]:
    """Return (the precision chosen for a small network, the messages)."""
    listener = Listener()
    settings = read_settings(None, {"precision": "auto", **given})
    found = choose_precision(lambda: (nn.Linear(4, 2), torch.zeros(8, 4)), settings, CPU, listener)
    return found, "\n".join(listener.lines)


@pytest.mark.parametrize("fastest", SPEEDS)
def test_auto_takes_the_fastest_and_reports_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, fastest: str
) -> None:
    set_speeds(monkeypatch, {**SPEEDS, fastest: 1.0})
    found, messages = choose()
    assert str(found) == fastest
    assert messages.startswith(f"precision: {fastest} (a step of 8 images takes: ")
    for name, ms in {**SPEEDS, fastest: 1.0}.items():
        assert f"{name} {ms:.0f} ms" in messages


@pytest.mark.parametrize("name", ["fp32", "bf16"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_precision_that_is_set_is_taken_without_measuring(
    monkeypatch: pytest.MonkeyPatch, name: str, channels_last: bool
) -> None:
    set_speeds(monkeypatch, {})
    found, messages = choose(precision=name, channels_last=channels_last)
    assert found == MixedPrecision(name, channels_last)
    assert messages == ""


def test_the_probe_really_measures_and_changes_neither_weights_nor_generators() -> None:
    classifier = Classifier(build_network("resnet18", 3, dropout=0.5), IMAGENET_NORMALISATION)
    example = torch.full((8, 32, 32, 3), 128, dtype=torch.uint8)
    before = {name: tensor.clone() for name, tensor in classifier.state_dict().items()}
    strides = [parameter.stride() for parameter in classifier.parameters()]
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    generators, plain = random_state()
    listener = Listener()
    settings = read_settings(None, {"precision": "auto"})
    choose_precision(lambda: (classifier, example), settings, CPU, listener)
    assert listener.lines[0].count(" ms") == 3
    for name, tensor in classifier.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert [parameter.stride() for parameter in classifier.parameters()] == strides
    assert all(parameter.grad is None for parameter in classifier.parameters())
    generators_after, plain_after = random_state()
    assert all(torch.equal(generators_after[name], generators[name]) for name in generators)
    assert plain_after == plain
    assert (example == 128).all()


def test_the_choice_is_stored_with_the_run_and_trains_the_same_as_setting_it(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_speeds(monkeypatch, SPEEDS)
    fixed = {"strategy": "head", "augment": "none"}
    auto = finetune(small(stripes, precision="auto", **fixed), tmp_path / "auto").run
    stored = read_settings(auto.settings, {})
    assert (stored.precision, stored.channels_last) == ("bf16", True)
    asked = small(stripes, precision="bf16", channels_last=True, **fixed)
    again = finetune(asked, tmp_path / "again").run
    assert again.read_card().weights.sha256 == auto.read_card().weights.sha256
    assert again.settings.read_text() == auto.settings.read_text()


def test_fp16_without_a_gpu_is_refused_with_a_hint(
    stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--weights", "none", "--size", "32", "--device", "cpu", "-o", str(tmp_path / "run")]
    assert run_command(["finetune", str(stripes), "--precision", "fp16", *words]) == 2
    *_, error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: --precision: fp16 needs a GPU, and this runs on cpu"
    assert hint == "hint: --precision bf16 or --precision auto"
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def plain(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> FinetuneResult:
    """A run of the last block in full precision."""
    return finetune(last_block(stripes), tmp_path_factory.mktemp("plain") / "run")


def last_block(data: Path, **given: Any) -> FinetuneSettings:
    fixed = {"strategy": "partial", "freeze_until": "15", "augment": "none", "epochs": 2}
    return small(data, **fixed, **given)


def test_bf16_learns_as_fp32_does_but_not_bit_for_bit(
    stripes: Path, tmp_path: Path, plain: FinetuneResult
) -> None:
    half = finetune(last_block(stripes, precision="bf16"), tmp_path / "run")
    first, last = epochs_of(half.run)
    assert last["train_loss"] < 0.7 * first["train_loss"]
    expected = [row["train_loss"] for row in epochs_of(plain.run)]
    assert [first["train_loss"], last["train_loss"]] == pytest.approx(expected, rel=0.05)
    assert half.run.read_card().weights.sha256 != plain.run.read_card().weights.sha256


def test_channels_last_gives_the_same_run_to_rounding(
    stripes: Path, tmp_path: Path, plain: FinetuneResult
) -> None:
    moved = finetune(last_block(stripes, channels_last=True), tmp_path / "run").run
    for found, expected in zip(epochs_of(moved), epochs_of(plain.run), strict=True):
        for name in ("train_loss", "val_loss"):
            assert found[name] == pytest.approx(expected[name], abs=1e-3), name
