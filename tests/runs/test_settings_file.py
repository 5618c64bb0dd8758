"""Settings: from files and options, checked, resolved, stored and digested."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec
import pytest

from tests.conftest import ROOT
from toolchain.errors import SettingsError
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import read_settings, settings_sha256, settings_toml

CONFIGS = sorted((ROOT / "configs").glob("*.toml"))
CASES = {
    "food-resnet18-head": ("resnet18", "head"),
    "food-resnet50-partial": ("resnet50", "partial"),
    "food-resnet101-full": ("resnet101", "full"),
    "food-resnet18-scratch": ("resnet18", "full"),
    "lung-ct-resnet152": ("resnet152", "partial"),
    "defects-resnet152": ("resnet152", "partial"),
    "defects-resnet50": ("resnet50", "partial"),
    "food-resnet18-two-stage": ("resnet18", "two-stage"),
    "defects-resnet50-progressive": ("resnet50", "progressive"),
    # not from the source material
    "photos-head": ("resnet18", "head"),
    "photos-partial": ("resnet18", "partial"),
    "surfaces-partial": ("resnet18", "partial"),
    "photos-full": ("resnet18", "full"),
    "photos-scratch": ("resnet18", "full"),
}


def test_there_is_one_config_for_each_case_of_the_sources() -> None:
    assert {path.stem for path in CONFIGS} == set(CASES)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_config_loads_and_its_header_gives_the_command(path: Path) -> None:
    settings = read_settings(path, {})
    assert (settings.arch, settings.strategy) == CASES[path.stem]
    assert f"rtl finetune DATA --config configs/{path.name}" in path.read_text()


def test_an_option_replaces_the_value_in_the_file() -> None:
    config = ROOT / "configs" / "food-resnet18-head.toml"
    assert read_settings(config, {"epochs": 3}).epochs == 3
    assert read_settings(config, {}).epochs == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 5", "unknown setting 'epoch'; did you mean 'epochs'?"),
        ("epochs = 8.5", "epochs: expected `int`, got `float`"),
        ("epochs = 0", "epochs: expected `int` >= 1, got 0"),
        ("nothing = 0", "unknown setting 'nothing'; known are data, task, arch"),
        ("lr_head = inf", "lr_head: expected a finite number, got inf"),
        ("ema = nan", "ema: expected a finite number, got nan"),
        ("lr_head = 1e30", "lr_head: expected `float` <= 1000.0"),
        ("lr_backbone = 1e-30", "lr_backbone: 1e-30 is lost in the rounding"),
        ("seed = 18446744073709551616", "seed: 18446744073709551616 is not below 2^64"),
        (f"epochs = {10**400}", "(401 characters) is too large"),
        ("resize_size = 100000", "resize_size: expected `int` <= 16384"),
        ('weights = "a\\u0000b"', "has a null character in it"),
        ("[train]\nepochs = 5", "[train] is a table; settings have none"),
        ("[[train]]\nepochs = 5", "[train] is a table; settings have none"),
        ("[optimizer]\nname = 'adam'", "[optimizer] is a table; settings have none"),
        ("learning_rate = 1", "did you mean 'lr_head' or 'lr_backbone'?"),
        ("img_size = 1", "did you mean 'size'?"),
        ('optimizer = "sgdm"', "did you mean 'sgd'?"),
        ('weights = "ImageNet"', "neither imagenet, none nor a file"),
        ("lr_head = -1.0", "lr_head: expected `float` > 0.0"),
        ('arch = "resnet19"', "arch: invalid enum value 'resnet19'; did you mean 'resnet18'?"),
        ('freeze_until = "layer9"', "freeze_until: 'layer9' is not layer1 to layer4"),
        ("resize_size = 100", "resize_size: 100 is smaller than size 224"),
        ("epochs = ", "is not TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_accepted(
    tmp_path: Path, text: str, message: str
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(text)
    with pytest.raises(SettingsError, match=r"settings\.toml") as caught:
        read_settings(config, {})
    assert message in str(caught.value)


def test_auto_preprocessing_is_that_of_the_augmentation_preset() -> None:
    assert read_settings(None, {"augment": "s0"}).preprocessing == "squash"
    assert read_settings(None, {"augment": "s1"}).preprocessing == "squash"
    assert read_settings(None, {"augment": "s3"}).preprocessing == "crop"
    assert read_settings(None, {"augment": "s0", "preprocessing": "crop"}).preprocessing == "crop"


def test_stored_settings_read_back_as_they_were(tmp_path: Path) -> None:
    settings = read_settings(None, {"data": 'odd "name" \\ here', "lr_head": 1e-6, "dropout": 0.5})
    stored = tmp_path / "settings.toml"
    stored.write_text(settings_toml(settings))
    assert read_settings(stored, {}) == settings
    assert set(tomllib.loads(stored.read_text())) == set(FinetuneSettings.__struct_fields__)


def test_the_digest_depends_on_what_determines_the_result_and_nothing_else() -> None:
    settings = read_settings(None, {})
    moved = msgspec.structs.replace(
        settings, data="elsewhere", workers=3, device="cpu", cache_gb=1.0, tensorboard=True
    )
    assert settings_sha256(moved) == settings_sha256(settings)
    for changed in ({"seed": 1}, {"ema": 0.9}, {"cache": False}, {"precision": "bf16"}):
        other = msgspec.structs.replace(settings, **changed)
        assert settings_sha256(other) != settings_sha256(settings)


def test_auto_loss_depends_on_the_task() -> None:
    assert read_settings(None, {}).loss == "cross-entropy"
    assert read_settings(None, {"task": "multi-label"}).loss == "bce"
    assert read_settings(None, {"task": "multi-label", "loss": "focal"}).loss == "focal"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"task": "multi-label", "loss": "cross-entropy"}, "multi-label takes bce"),
        ({"loss": "bce"}, "bce is for --task multi-label"),
        ({"task": "multi-label", "balanced_sampling": True}, "use class_weights"),
        ({"schedule": "one-cycle", "warmup_epochs": 1}, "one-cycle warms up by itself"),
        ({"strategy": "two-stage", "head_epochs": 5, "epochs": 5}, "5 of 5 epochs leave none"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    given: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        read_settings(None, given)


@pytest.mark.parametrize(
    "path",
    ["/a/caf\udce9", "/a/\x7f", "/a/'\"\n\t\\", "/a/\u202ecod", "/a/50%20off", "b\udcff\x7f%"],
)
def test_every_path_comes_back_from_the_stored_settings(path: str, tmp_path: Path) -> None:
    path = str(tmp_path / path)
    file = tmp_path / "settings.toml"
    file.write_text(settings_toml(FinetuneSettings(data=path, weights=path)), encoding="utf-8")
    found = read_settings(file, {})
    assert (found.data, found.weights) == (path, path)
    assert len(settings_sha256(found)) == 64
