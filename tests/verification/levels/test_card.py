"""Level "card": what a file's card says of itself is compared with the run's card."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from tests.runtime.test_card import some_card
from toolchain.runtime.card import Card, Metrics
from toolchain.verification.levels.card import card_level, run_weights_level

METRICS = Metrics(split="val", images=24, accuracy=0.9, accuracy_interval=(0.8, 0.95), macro_f1=0.9)
MADE, EXPORTED = "2026-11-22T08:00:00+00:00", "2026-11-22T09:00:00+00:00"
BEFORE, AFTER = 1795334400.0 - 86400 * 30, 1795334400.0 + 86400 * 30


def run_card() -> Card:
    return msgspec.structs.replace(
        some_card(), metrics=METRICS, created=MADE, versions={"rtl": "1", "torch": "2"}
    )


def file_card(**changes: Any) -> Card:
    card = msgspec.structs.replace(
        run_card(), format="onnx", created=EXPORTED, versions={**run_card().versions, "x": "3"}
    )
    return msgspec.structs.replace(card, **changes)


def test_a_card_of_the_run_passes() -> None:
    assert card_level(run_card(), file_card()).passed
    assert card_level(run_card(), file_card(metrics=None)).passed


@pytest.mark.parametrize(
    ("field", "forged"),
    [
        ("metrics", msgspec.structs.replace(METRICS, accuracy=0.999)),
        ("metrics", msgspec.structs.replace(METRICS, images=2400)),
        ("settings_sha256", "0" * 64),
        ("data_sha256", "0" * 64),
        ("versions", {"rtl": "1", "torch": "3"}),
        ("versions", {}),
        ("created", "1999-01-01T00:00:00+00:00"),
        ("created", "2999-01-01T00:00:00+00:00"),
        ("created", "yesterday"),
        ("temperature", 3.0),
        ("threshold", 0.9),
    ],
)
def test_a_forged_field_is_named(field: str, forged: Any) -> None:
    level = card_level(run_card(), file_card(**{field: forged}))
    assert (level.passed, level.where) == (False, f"the card: {field}")


def test_an_evaluation_after_the_export_may_have_other_images_but_not_another_accuracy() -> None:
    now = time.time()
    other = msgspec.structs.replace(METRICS, split="test", images=99, accuracy=0.7)
    assert card_level(run_card(), file_card(metrics=other), evaluated=now).passed
    assert not card_level(run_card(), file_card(metrics=other), evaluated=BEFORE).passed
    better = msgspec.structs.replace(METRICS, accuracy=0.95)
    assert not card_level(run_card(), file_card(metrics=better), evaluated=now).passed


def test_an_int8_file_may_have_a_temperature_of_its_own() -> None:
    assert card_level(run_card(), file_card(precision="int8", temperature=1.5)).passed
    assert not card_level(run_card(), file_card(precision="fp16", temperature=1.5)).passed


def test_changed_weights_of_the_run_are_the_runs_fault() -> None:
    own = run_card().weights.sha256
    assert run_weights_level(own, run_card(), file_card()) is None
    level = run_weights_level("f" * 64, run_card(), file_card())
    assert level is not None
    assert not level.passed
    assert str(level.where).startswith("the run: model.safetensors")
    assert "changed after training" in level.summary
