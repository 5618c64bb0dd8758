"""The guide table: its four rows, what they train, and what a user has given stays."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT
from toolchain.data.layouts import Dataset, Sample
from toolchain.runs.settings_file import read_settings
from toolchain.select.guide import (
    HEAD,
    LARGE_FROM,
    PARTIAL,
    guide_row,
    images_per_class,
    row_settings,
    with_chosen,
)

GIVEN = {"data": "photos"}


@pytest.mark.parametrize(
    ("per_class", "like", "row", "strategy"),
    [
        (LARGE_FROM - 1, True, "small, like", "head"),
        (LARGE_FROM - 1, False, "small, unlike", "partial"),
        (LARGE_FROM, False, "large, unlike", "full"),
        (LARGE_FROM, True, "large, like", "full"),
    ],
)
def test_size_and_likeness_choose_the_row(
    per_class: int, like: bool, row: str, strategy: str
) -> None:
    found = guide_row(per_class, like)
    assert str(found) == row
    assert row_settings(found, "layer4")["strategy"] == strategy


def test_a_large_set_that_is_unlike_is_trained_at_the_smaller_rate() -> None:
    unlike, like = (
        row_settings(guide_row(LARGE_FROM, is_like), "layer4") for is_like in (False, True)
    )
    assert unlike["lr_backbone"] < like["lr_backbone"]


@pytest.mark.parametrize(
    ("best", "first"), [("layer2", "layer3"), ("layer3", "layer4"), ("layer4", "layer3")]
)
def test_the_layers_after_the_best_stage_are_trained(best: str, first: str) -> None:
    assert row_settings(guide_row(10, False), best)["freeze_until"] == first


@pytest.mark.parametrize(("recipe", "file"), [(HEAD, "photos-head"), (PARTIAL, "photos-partial")])
def test_a_row_is_the_recipe_of_configs(recipe: dict[str, object], file: str) -> None:
    config = tomllib.loads((ROOT / "configs" / f"{file}.toml").read_text())
    assert recipe.items() <= config.items()


def test_what_was_given_stays() -> None:
    settings = read_settings(None, GIVEN | {"strategy": "auto", "epochs": 3, "lr_head": 0.5})
    changed, taken = with_chosen(settings, HEAD, frozenset({"epochs", "lr_head"}))
    assert (changed.strategy, changed.epochs, changed.lr_head) == ("head", 3, 0.5)
    assert "epochs" not in taken
    assert changed.t_max == 3


def test_the_median_class_says_how_large_a_set_is() -> None:
    samples = tuple(Sample(Path(f"{n}"), label) for label in (0, 1, 2) for n in range(4 + label))
    dataset = Dataset(Path(), ("a", "b", "c"), samples, samples, (), "")
    assert images_per_class(dataset) == 5
