"""`--strategy auto` from the command line to the run folder: measured, told, stored, refused."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest

from tests.conftest import Rtl
from toolchain.errors import SettingsError
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.selection import read_selection
from toolchain.runs.settings_file import read_settings

SMALL = ("--size", 32, "--workers", 0, "--epochs", 2, "--batch-size", 16)


@pytest.fixture(scope="module")
def run(stripes: Path, random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose strategy was chosen, with its JSON report beside it."""
    import toolchain as rtl

    folder = tmp_path_factory.mktemp("auto") / "run"
    result = rtl.finetune(
        stripes,
        folder,
        weights=random_weights,
        strategy="auto",
        size=32,
        workers=0,
        epochs=2,
        batch_size=16,
    )
    assert result.report.selection == result.selection
    assert "random weights, layer4" in repr(result)
    return folder


def test_the_run_keeps_what_was_measured_and_chosen(run: Path) -> None:
    selection = read_selection(RunFolder(run))
    assert selection is not None
    assert selection.asked == {"strategy": "auto"}
    assert selection.row in ("small, like", "small, unlike")
    assert selection.images_per_class == 16
    names = [row.name for row in selection.measured]
    assert names[:4] == [f"features of layer{n}" for n in (1, 2, 3, 4)]
    assert all(row.images == 48 for row in selection.measured)


def test_the_settings_of_the_run_are_those_that_were_trained(run: Path) -> None:
    text = RunFolder(run).settings.read_text()
    settings = tomllib.loads(text)
    selection = json.loads(RunFolder(run).selection.read_text())
    assert settings["strategy"] == selection["chosen"]["strategy"] != "auto"
    assert settings["epochs"] == 2
    assert "epochs" not in selection["chosen"]
    assert "asked for was strategy auto" in text.partition("\nstrategy =")[0]


def test_the_choice_is_printed_with_its_figures(
    rtl_here: Rtl, stripes: Path, random_weights: Path
) -> None:
    # Features of these images are kept already, so this measures and trains in a second.
    done = rtl_here("finetune", stripes, "--weights", random_weights, "--strategy", "auto", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "strategy auto: " in done.stderr
    assert "16 training images a class, fewer than 200" in done.stderr
    assert "features of layer1" in done.stdout
    assert "because" in done.stdout


def test_a_setting_that_the_choice_leaves_without_effect_is_said(
    rtl_here: Rtl, stripes: Path, random_weights: Path
) -> None:
    words = ("--weights", random_weights, "--strategy", "auto", *SMALL, "--size", 64)
    done = rtl_here("finetune", stripes, *words, "--start-size", 32)
    assert done.returncode == 0, done.stderr
    said = "the first epochs are not of 32 pixels: the kept features are those of images"
    assert done.stderr.count(said) == 1
    assert "images of 32 pixels" not in done.stderr


def test_one_image_a_class_shows_nothing_and_trains_the_head(
    rtl_here: Rtl, stripes: Path, random_weights: Path, tmp_path: Path
) -> None:
    for folder in (stripes / "train").iterdir():
        image = min(folder.iterdir())
        for split in ("train", "val"):
            (tmp_path / "one" / split / folder.name).mkdir(parents=True)
        shutil.copy(image, tmp_path / "one" / "train" / folder.name)
        shutil.copy(max(folder.iterdir()), tmp_path / "one" / "val" / folder.name)
    done = rtl_here(
        "finetune", tmp_path / "one", "--weights", random_weights, "--strategy", "auto", *SMALL
    )
    assert done.returncode == 0, done.stderr
    assert "strategy auto: head (small, like): 1 training image a class" in done.stderr
    assert "likeness can't be measured: each class has one training image" in done.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"freeze_until": "layer3"}, "freeze_until: strategy auto chooses it"),
        ({"head_epochs": 7}, "head_epochs: strategy auto chooses it"),
        ({"weights": "none"}, "auto measures what the features of pretrained weights are worth"),
    ],
)
def test_what_contradicts_the_choice_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        read_settings(None, {"data": "photos", "strategy": "auto"} | given)
    assert caught.value.hint


def test_the_search_for_a_rate_needs_a_strategy(rtl_here: Rtl, stripes: Path) -> None:
    done = rtl_here("finetune", stripes, "--strategy", "auto", "--lr-find")
    assert done.returncode == 2
    assert "--strategy: --lr-find tries the rates of one strategy" in done.stderr
    assert "--strategy head" in done.stderr
