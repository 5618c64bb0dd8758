"""The versions that pyproject.toml promises and constraints.txt pins, and what tries them."""

from __future__ import annotations

import tomllib

import pytest

from tests.conftest import ROOT
from tests.slow.oldest import EXTRAS, chosen_versions, lowest_versions, pinned_versions

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINNED = pinned_versions((ROOT / "constraints.txt").read_text(encoding="utf-8"))


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_every_promised_package_is_pinned_at_or_above_its_lowest_version() -> None:
    lowest = lowest_versions(PROJECT)
    assert lowest.keys() - PINNED.keys() == set()
    below = [name for name in lowest if numbers(PINNED[name]) < numbers(lowest[name])]
    assert below == []


def test_oldest_takes_the_lowest_versions_and_the_pinned_tools() -> None:
    chosen = chosen_versions(newest=False, torch=None)
    assert chosen["numpy"] == lowest_versions(PROJECT)["numpy"]
    assert chosen["pytest"] == PINNED["pytest"]


def test_newest_leaves_all_open_but_torch_and_the_tools() -> None:
    chosen = chosen_versions(newest=True, torch=None)
    assert (chosen["numpy"], chosen["onnxruntime"]) == (None, None)
    assert (chosen["torch"], chosen["pytest"]) == (PINNED["torch"], PINNED["pytest"])


@pytest.mark.parametrize(("torch", "torchvision"), [("2.14.1", "0.29.1"), ("2.8.0", "0.23.0")])
def test_a_torch_that_is_asked_for_comes_with_its_torchvision(torch: str, torchvision: str) -> None:
    chosen = chosen_versions(newest=True, torch=torch)
    assert (chosen["torch"], chosen["torchvision"]) == (torch, torchvision)


def test_a_requirement_without_a_lowest_version_is_refused() -> None:
    extras = {name: ["torch<3"] for name in EXTRAS}
    with pytest.raises(ValueError, match=r"'torch<3' names no lowest version by >="):
        lowest_versions({"dependencies": [], "optional-dependencies": extras})
