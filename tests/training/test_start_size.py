"""Smaller images in the first epochs (progressive resizing)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor

from tests.training.test_data import Messages
from tests.training.test_finetune import small
from toolchain.networks.resnet import Classifier
from toolchain.runs.settings_file import gather_settings
from toolchain.training.finetune import finetune

GROWING: dict[str, Any] = {"size": 64, "start_size": 32, "epochs": 3, "augment": "none"}


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int]]:
    """Return what fills with (whether it is trained on, side) of each batch of the classifier."""
    seen: list[tuple[bool, int]] = []
    forward = Classifier.forward

    def recorded(self: Classifier, pixels: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            assert pixels.shape[1] == pixels.shape[2]
        seen.append((torch.is_grad_enabled(), pixels.shape[2]))
        return forward(self, pixels)

    monkeypatch.setattr(Classifier, "forward", recorded)
    return seen


def in_turn(values: list[int]) -> list[int]:
    """Return the values without those that are equal to the one before."""
    return [v for i, v in enumerate(values) if i == 0 or values[i - 1] != v]


@pytest.mark.parametrize(
    ("given", "small_steps"),
    [({}, 3), ({"start_size_epochs": 2}, 6), ({"mixup": 0.4}, 3)],
)
def test_the_first_epochs_train_on_smaller_images_and_all_are_judged_at_the_full_size(
    stripes: Path,
    tmp_path: Path,
    sides: list[tuple[bool, int]],
    given: dict[str, Any],
    small_steps: int,
) -> None:
    finetune(small(stripes, **GROWING, **given), tmp_path / "run")
    trained = [side for training, side in sides if training]
    assert in_turn(trained) == [32, 64]
    assert trained.count(32) == small_steps
    assert {side for training, side in sides if not training} == {64}


def test_a_strategy_that_trains_from_pixels_takes_smaller_images_too(
    stripes: Path, tmp_path: Path, sides: list[tuple[bool, int]]
) -> None:
    finetune(small(stripes, **GROWING, strategy="partial", cache=False), tmp_path / "run")
    assert in_turn([side for training, side in sides if training]) == [32, 64]


@pytest.mark.parametrize("strategy", ["partial", "lora"])
def test_a_strategy_that_freezes_nothing_takes_smaller_images_too(
    strategy: str, stripes: Path, tmp_path: Path, sides: list[tuple[bool, int]]
) -> None:
    settings = small(stripes, **GROWING, strategy=strategy, freeze_until="0")
    finetune(settings, tmp_path / "run")
    assert in_turn([side for training, side in sides if training]) == [32, 64]


def test_the_sizes_are_said(stripes: Path, tmp_path: Path) -> None:
    said = Messages()
    finetune(small(stripes, **GROWING), tmp_path / "run", progress=said)
    assert said.lines.count("images of 32 pixels to epoch 1, then of 64") == 1


def test_kept_features_are_those_of_the_full_size(
    stripes: Path, tmp_path: Path, sides: list[tuple[bool, int]]
) -> None:
    said = Messages()
    given = {**GROWING, "strategy": "partial"}
    settings = small(stripes, **given)
    finetune(settings, tmp_path / "run", progress=said)
    assert not any(training for training, _ in sides), "it trained from pixels"
    assert not any("images of 32 pixels" in text for text in said.lines)
    notes = gather_settings(None, msgspec.structs.asdict(settings), options=True).notes
    assert any(note.startswith("--start-size 32 is ignored: the kept features") for note in notes)
