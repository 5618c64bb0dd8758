"""Settings that can't work together: refused with what would work, before any image is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolchain.cli.main import run_command
from toolchain.errors import SettingsError
from toolchain.runs import settings_rules
from toolchain.runs.settings import ARCHITECTURES, FinetuneSettings
from toolchain.runs.settings_file import gather_settings, read_settings, settings_toml
from toolchain.runs.settings_rules import layers_of
from toolchain.runs.stored_settings import stored_settings

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"weights": "none", "strategy": "head"}, "strategy"),
    ({"weights": "none", "strategy": "partial"}, "strategy"),
    ({"weights": "none", "strategy": "two-stage"}, "strategy"),
    ({"weights": "none", "strategy": "progressive", "epochs": 50}, "strategy"),
    ({"strategy": "progressive", "epochs": 3}, "unfreeze_every"),
    ({"strategy": "progressive", "epochs": 5, "unfreeze_every": 5}, "unfreeze_every"),
    ({"strategy": "progressive", "epochs": 1, "unfreeze_every": 1}, "unfreeze_every"),
    ({"strategy": "two-stage", "epochs": 1}, "head_epochs"),
    ({"strategy": "partial", "freeze_until": "18"}, "freeze_until"),
    ({"strategy": "two-stage", "freeze_until": "17"}, "freeze_until"),
    ({"strategy": "partial", "arch": "resnext101_32x8d", "freeze_until": "101"}, "freeze_until"),
    ({"schedule": "cosine", "eta_min": 0.1}, "eta_min"),
    ({"schedule": "cosine", "lr_head": 1e-7}, "eta_min"),
    ({"schedule": "cosine", "strategy": "full", "eta_min": 1e-3}, "eta_min"),
    ({"warmup_epochs": 25}, "warmup_epochs"),
    ({"schedule": "cosine", "t_max": 3, "warmup_epochs": 3}, "warmup_epochs"),
    ({"optimizer": "sgd", "lr_head": 500.0, "weight_decay": 0.1}, "weight_decay"),
    ({"mixup": 0.2, "batch_size": 1}, "mixup"),
    ({"cutmix": 1.0, "batch_size": 1}, "cutmix"),
    ({"mixup": 1e-9}, "mixup"),
    ({"augment": "s3", "preprocessing": "squash", "resize_size": 100}, "resize_size"),
    ({"strategy": "full", "start_size": 224}, "start_size"),
    ({"strategy": "full", "start_size": 20}, "start_size"),
    ({"strategy": "full", "size": 32, "start_size": 32}, "start_size"),
    ({"strategy": "full", "start_size": 160, "epochs": 1}, "start_size"),
    ({"strategy": "full", "start_size": 160, "start_size_epochs": 25}, "start_size_epochs"),
    ({"strategy": "partial", "start_size": 160, "target": "elsewhere"}, "target"),
    ({"workers": 1000}, "workers"),
    ({"seed": 2**64}, "seed"),
    # The nearest value within the bounds is ruled out by other settings.
    ({"workers": 1025}, "workers"),
    ({"warmup_epochs": 10**6 + 1}, "warmup_epochs"),
    ({"strategy": "two-stage", "head_epochs": 10**6 + 1}, "head_epochs"),
    ({"schedule": "cosine", "eta_min": 2000.0}, "eta_min"),
    ({"mixup": 101.0, "batch_size": 1}, "mixup"),
]


@pytest.mark.parametrize(("given", "setting"), REFUSED)
def test_the_change_that_a_refusal_names_works(given: dict[str, Any], setting: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings(None, given)
    assert caught.value.setting == setting
    assert caught.value.instead
    for change in caught.value.instead:
        read_settings(None, {**given, **change})


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_number_of_layers_is_that_of_the_name(arch: str) -> None:
    import torch

    from toolchain.networks.resnet import build_network
    from toolchain.training.strategies import counted_layers

    with torch.device("meta"):
        assert layers_of(arch) == len(counted_layers(build_network(arch, 2)))


def test_images_that_fill_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings_rules, "memory_limit_bytes", lambda: 1_000_000_000)
    with pytest.raises(SettingsError, match="resize_size: images of 16000 pixels") as caught:
        read_settings(None, {"resize_size": 16000, "workers": 2})
    [change] = caught.value.instead
    read_settings(None, {"workers": 2, **change})


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--epochs", "3", "--strategy", "progressive"), "--unfreeze-every (its default)"),
        (("--strategy", "progressive", "--unfreeze-every", "99"), "--unfreeze-every"),
        (("--config", "my.toml"), "my.toml: seed"),
        (("--config", "my.toml", "--seed", "-1"), "--seed"),
    ],
)
def test_a_refusal_names_the_option_or_the_file_that_gave_the_value(
    words: tuple[str, ...],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.toml").write_text("seed = -5\n")
    assert run_command(["finetune", "nowhere", *words]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {name}: ")
    assert hint.startswith("hint: --")


def test_from_scratch_trains_everything_unless_a_strategy_is_given() -> None:
    found = gather_settings(None, {"weights": "none"})
    assert found.settings.strategy == "full"
    assert "everything is trained" in found.notes[0]
    assert read_settings(None, {"weights": "none", "strategy": "partial", "freeze_until": "0"})


@pytest.mark.parametrize(
    ("given", "ignored"),
    [
        (
            {"freeze_until": "layer2"},
            "--freeze-until layer2 is ignored: strategy partial",
        ),
        ({"momentum": 0.5}, "--momentum 0.5 is ignored: optimizer sgd uses it"),
        ({"lr_backbone": 1e-4}, "--lr-backbone 0.0001 is ignored: strategy head trains no"),
        ({"epochs": 5, "early_stopping": 9}, "--early-stopping 9 is ignored: the run ends"),
        ({"schedule": "step", "epochs": 5}, None),
        ({"schedule": "step", "epochs": 5, "step_epochs": 5}, "--step-epochs 5 is ignored"),
        ({"augment": "none", "views": 3}, "--views 3 is ignored: no features of augmented"),
        ({"augment": "s0", "resize_size": 300}, "--resize-size 300 is ignored: nothing is"),
        ({"strategy": "full", "start_size": 160}, None),
        ({"strategy": "partial", "start_size": 160}, "--start-size 160 is ignored: the kept"),
        ({"strategy": "partial", "start_size": 160, "mixup": 0.2}, None),
        ({"strategy": "partial", "start_size": 160, "freeze_until": "0"}, None),
        ({"strategy": "lora", "start_size": 160, "freeze_until": "0"}, None),
        (
            {"strategy": "bn", "start_size": 160, "freeze_until": "0"},
            "--start-size 160 is ignored: the kept",
        ),
        ({"strategy": "auto", "start_size": 160}, None),
        ({"strategy": "full", "start_size_epochs": 3}, "--start-size-epochs 3 is ignored: start"),
        ({"epochs": 30, "seed": 1, "dropout": 0.5}, None),
    ],
)
def test_what_is_given_and_not_used_is_said(given: dict[str, Any], ignored: str | None) -> None:
    notes = gather_settings(None, given, options=True).notes
    assert len(notes) == (ignored is not None)
    assert notes == () or notes[0].startswith(str(ignored))


def test_the_settings_of_a_run_as_config_say_nothing_of_their_defaults(tmp_path: Path) -> None:
    stored = tmp_path / "settings.toml"
    stored.write_text(settings_toml(read_settings(None, {"data": "d", "epochs": 7})))
    assert gather_settings(stored, {}).notes == ()


def test_a_run_that_is_trained_already_is_read_whatever_its_settings(tmp_path: Path) -> None:
    stored = tmp_path / "settings.toml"
    stored.write_text(settings_toml(FinetuneSettings(data="d", weights="none", strategy="head")))
    assert stored_settings(stored).strategy == "head"


def test_a_config_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_bytes(b"\xef\xbb\xbfepochs = 3\n")
    assert read_settings(config, {}).epochs == 3


def test_a_number_of_layers_may_be_a_number(tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text('strategy = "partial"\nfreeze_until = 10\n')
    assert read_settings(config, {}).freeze_until == "10"
