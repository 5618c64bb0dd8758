"""Advice: options that help, are not used yet, and exist."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.training.analysis.histories import CLASSES, names, recorded, settings
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import gather_settings
from toolchain.training.analysis.diagnosis import diagnose


def test_weights_from_a_file_are_advised_to_try_others_and_no_setting_that_is_none() -> None:
    from_file = settings(weights="mine.safetensors", strategy="head")
    (finding,) = diagnose(recorded("WRONG_MEAN"), from_file, 2)
    assert finding.name == "slow convergence"
    assert finding.remedy.startswith("try --weights imagenet, --strategy partial, ")
    assert "mean and std" not in finding.remedy


def test_imagenet_weights_are_advised_more_layers_and_a_higher_rate() -> None:
    (finding,) = diagnose(recorded("HEAD_AT_1E4"), settings(lr_head=1e-4), 2)
    assert finding.remedy == (
        "try --strategy partial, --lr-head 0.005 or the rates that "
        "`rtl finetune DATA --lr-find` suggests"
    )


def test_no_run_is_advised_to_lower_and_to_raise_the_learning_rate() -> None:
    rows = recorded("ADAM_AT_01")  # unstable, and at the level of guessing to the end
    assert names(diagnose(rows, settings(strategy="full"), 3)) == ["unstable start"]
    (unstable,) = diagnose(rows, settings(strategy="full", weights="mine.pth"), 3)
    assert "--lr-head 0.0017, --lr-backbone 3.3e-05" in unstable.remedy


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (
            {},
            "--augment randaugment, --dropout 0.5, --weight-decay 0.001, --mixup 0.2, "
            "--early-stopping 5 or more training images",
        ),
        (
            {"strategy": "full", "augment": "none", "weight_decay": 0.0, "cutmix": 1.0},
            "--augment s3, --dropout 0.5, --weight-decay 0.001, --early-stopping 5, "
            "--strategy partial or more training images",
        ),
        (
            {
                "strategy": "partial",
                "freeze_until": "layer2",
                "augment": "trivialaugment",
                "dropout": 0.5,
                "weight_decay": 0.05,
                "mixup": 0.2,
                "early_stopping": 5,
            },
            "--freeze-until layer3 or more training images",
        ),
    ],
    ids=["defaults", "everything trained", "nearly everything used"],
)
def test_advice_against_over_fitting_is_not_used_yet(given: dict[str, Any], remedy: str) -> None:
    (finding,) = diagnose(recorded("WRONG_LABELS"), settings(**given), 3)
    assert finding.remedy == f"try {remedy}"


def test_advice_against_instability_is_not_used_yet() -> None:
    used = settings(
        strategy="partial", warmup_epochs=3, clip_norm=1.0, lr_head=0.3, lr_backbone=0.1
    )
    (finding,) = diagnose(recorded("SGD_AT_1"), used, 2)
    assert finding.remedy == (
        "try --lr-head 0.1, --lr-backbone 0.033 or the rates that "
        "`rtl finetune DATA --lr-find` suggests"
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"strategy": "partial"}, "--freeze-until layer3"),
        ({"strategy": "two-stage", "freeze_until": "layer3"}, "--freeze-until layer2"),
        ({"strategy": "partial", "freeze_until": "100"}, "--freeze-until layer1"),
        ({"strategy": "progressive"}, "--strategy partial --freeze-until layer3"),
        ({"strategy": "full", "weights": "none"}, "--weights imagenet"),
        ({"strategy": "full", "lr_backbone": 1e-3}, "--lr-backbone 0.003"),
    ],
)
def test_advice_against_slowness_is_more_layers_and_higher_rates(
    given: dict[str, Any], expected: str
) -> None:
    (finding,) = diagnose(recorded("HEAD_AT_1E4"), settings(**given), 2)
    assert expected in finding.remedy


def test_every_option_that_a_remedy_names_is_a_setting() -> None:
    known = {f"--{name.replace('_', '-')}" for name in FinetuneSettings.__struct_fields__}
    for strategy in ("head", "partial", "full", "two-stage", "progressive"):
        for weights in ("none", "imagenet", "mine.pth"):
            given = settings(strategy=strategy, weights=weights, augment="none")
            for name in ("WRONG_LABELS", "SGD_AT_1", "HEAD_AT_1E4"):
                for finding in diagnose(recorded(name), given, CLASSES.get(name, 2)):
                    options = set(re.findall(r"--[a-z-]+", finding.remedy))
                    assert options <= known | {"--lr-find"}
                    assert options


SITUATIONS = [
    {"strategy": "head", "lr_head": 1000.0},
    {"strategy": "full", "lr_head": 900.0, "lr_backbone": 900.0},
    {"strategy": "full", "lr_head": 1e-9, "lr_backbone": 1e-9},
    {"strategy": "full", "weights": "none", "epochs": 3, "batch_size": 1},
    {"schedule": "one-cycle", "strategy": "partial", "freeze_until": "0"},
    {"schedule": "cosine", "t_max": 2, "strategy": "partial", "freeze_until": "layer1"},
    {"strategy": "two-stage", "freeze_until": "third", "epochs": 6},
    {"strategy": "progressive", "epochs": 9, "task": "multi-label", "loss": "bce"},
    {"optimizer": "sgd", "lr_head": 90.0, "weight_decay": 0.005, "mixup": 0.2},
]


@pytest.mark.parametrize("given", SITUATIONS)
@pytest.mark.parametrize("name", ["WRONG_LABELS", "SGD_AT_1", "HEAD_AT_1E4", "HEAD_AT_1E6"])
def test_each_option_of_a_remedy_works_with_the_settings_of_the_run(
    given: dict[str, Any], name: str
) -> None:
    for finding in diagnose(recorded(name), settings(**given), CLASSES.get(name, 2)):
        for advice in re.split(r", | or ", finding.remedy):
            pairs = re.findall(r"--([a-z-]+) ([\w.+-]+)", advice)
            change = {key.replace("-", "_"): value for key, value in pairs if key != "lr-find"}
            kinds = {key: type(getattr(FinetuneSettings(), key)) for key in change}
            typed = {key: kinds[key](value) for key, value in change.items()}
            notes = gather_settings(None, {**given, **typed}).notes
            assert not [note for note in notes if note.startswith(tuple(typed))] or not typed
            rates = [typed[key] for key in typed if key.startswith("lr_")]
            assert all(1e-9 <= rate <= 0.5 for rate in rates)


def test_a_rate_that_is_a_typing_error_is_not_divided_by_three() -> None:
    (finding,) = diagnose(recorded("SGD_AT_1"), settings(lr_head=1000.0), 2)
    assert "--lr-head 0.005," in finding.remedy


def test_layer1_is_not_advised_to_itself() -> None:
    given = settings(strategy="partial", freeze_until="layer1")
    (finding,) = diagnose(recorded("HEAD_AT_1E4"), given, 2)
    assert finding.remedy.startswith("try --strategy full, ")
