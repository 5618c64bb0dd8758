"""Which source models several weights and `arch = "auto"` stand for, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolchain.errors import SettingsError
from toolchain.runs.settings_file import gather_settings
from toolchain.runs.source_models import IMAGENET_ARCHITECTURES, SourceModel


def gathered(**given: Any) -> tuple[str, str, tuple[SourceModel, ...]]:
    found = gather_settings(None, {"data": "photos", **given})
    return found.settings.arch, found.settings.weights, found.source_models


@pytest.mark.parametrize(
    ("given", "models"),
    [
        ({"weights": ["a.pth", "b.pth"]}, [("a.pth", None), ("b.pth", None)]),
        ({"weights": ("a.pth", "imagenet")}, [("a.pth", None), ("imagenet", "resnet18")]),
        (
            {"weights": ["a.pth", "b.pth"], "arch": "resnet34"},
            [("a.pth", "resnet34"), ("b.pth", "resnet34")],
        ),
        ({"arch": "auto"}, [("imagenet", arch) for arch in IMAGENET_ARCHITECTURES]),
        ({"arch": "auto", "weights": "a.pth"}, [("a.pth", None)]),
        (
            {"arch": "auto", "weights": ["a.pth", "imagenet"]},
            [("a.pth", None), *(("imagenet", arch) for arch in IMAGENET_ARCHITECTURES)],
        ),
        ({"weights": ["a.pth"]}, []),
        ({"weights": "a.pth", "arch": "resnet34"}, []),
    ],
)
def test_source_models_are_every_network_that_was_given(
    given: dict[str, Any], models: list[tuple[str, str | None]]
) -> None:
    arch, weights, found = gathered(**given)
    assert list(found) == [SourceModel(*model) for model in models]
    asked = given.get("weights", "imagenet")
    assert weights == (asked if isinstance(asked, str) else asked[0])
    assert arch == (given["arch"] if given.get("arch", "auto") != "auto" else "resnet18")


def test_a_toml_file_lists_source_models(tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text('data = "photos"\narch = "auto"\nweights = ["a.pth", "runs/b"]\n')
    found = gather_settings(config, {})
    assert found.source_models == (SourceModel("a.pth"), SourceModel("runs/b"))
    assert gather_settings(config, {"weights": "c.pth", "arch": "resnet18"}).source_models == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": ["a.pth", "none"]}, "random weights are no source to choose"),
        ({"weights": "none", "arch": "auto"}, "random weights are no source to choose"),
        ({"weights": []}, "a list holds files, run folders or imagenet"),
        ({"weights": ["a.pth", 5]}, "a list holds files, run folders or imagenet"),
        ({"weights": ["a.pth", "a.pth"]}, "'a.pth' is given twice"),
        ({"weights": ["a.pth", "b.pth"], "task": "multi-label"}, "one class each"),
    ],
)
def test_what_is_no_choice_is_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as error:
        gathered(**given)
    assert "\n" not in str(error.value)
    assert error.value.hint


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (["a b.pth", "a b.pth"], "--weights 'a b.pth'"),
        (["a.pth", "b.pth", "a.pth"], "--weights a.pth --weights b.pth"),
    ],
)
def test_weights_that_are_given_twice_are_named_once(given: list[str], hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        gather_settings(None, {"data": "photos", "weights": given}, options=True)
    assert caught.value.hint == hint


def test_only_a_training_chooses_a_source_model() -> None:
    found = gather_settings(None, {"data": "photos", "weights": ["a.pth", "b.pth"]})
    with pytest.raises(SettingsError, match="--cv takes one source model"):
        found.require_one_source("--cv")
    gather_settings(None, {"data": "photos", "weights": "a.pth"}).require_one_source("--cv")
