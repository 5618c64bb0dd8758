"""`--budget` from the command line to a run folder: normal, resumable, refused in one line."""

from __future__ import annotations

import json
import shutil
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import toolchain
from tests.conftest import Rtl
from tests.select.test_cross_validate import inputs_for
from toolchain.data.layouts import Sample
from toolchain.errors import SettingsError
from toolchain.progress import SilentReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.selection import read_selection
from toolchain.runs.settings_chosen import budget_seconds
from toolchain.runs.settings_file import gather_settings, read_settings
from toolchain.runs.trained_run import TrainedRun
from toolchain.select.choose import chooser_for
from toolchain.select.clock import OutOfTime
from toolchain.training.choosing import Choice, ChoiceInputs, Choosers
from toolchain.training.features.compute import FeatureSpec
from toolchain.training.features.pooled import StageFeatures, stage_features
from toolchain.training.finetune import finetune

SMALL = {"size": 32, "workers": 0, "batch_size": 16}


@pytest.fixture(scope="module")
def run(stripes: Path, random_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that a search has made; its probe is right on all images, so nothing is fine-tuned."""
    folder = tmp_path_factory.mktemp("budget") / "run"
    settings = SMALL | {"weights": str(random_weights), "budget": "10m"}
    toolchain.finetune(stripes, folder, **settings)  # type: ignore[arg-type]
    return RunFolder(folder)


def test_what_was_measured_and_chosen_is_kept(run: RunFolder) -> None:
    selection = read_selection(run)
    assert selection is not None
    assert selection.asked == {"strategy": "auto", "budget": "10m"}
    assert selection.chosen["head_start"] == "probe"
    assert "too few errors" in selection.reason
    verdicts = {row.name: row.verdict for row in selection.measured}
    assert verdicts["head, from the probe"] == "chosen"
    assert verdicts["head on all four stages, from the probe"] == "tie"
    assert verdicts["probe on layer1"] == "reference"
    assert "not tried" in verdicts.values()


def test_the_search_ends_when_nothing_left_could_win(run: RunFolder) -> None:
    selection = read_selection(run)
    assert selection is not None
    assert selection.reason.endswith("nothing left could win")
    assert selection.seconds < 300


def test_a_probe_that_is_chosen_is_trained_on_and_no_epoch_before_the_best_is_lost(
    run: RunFolder,
) -> None:
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    epochs = [row for row in rows if "epoch" in row]
    assert [row["epoch"] for row in epochs] == list(range(1, 11))
    # The classifier begins where the probe ended: it knows the images before the first step.
    assert epochs[0]["train_loss_start"][0] < 0.5 * np.log(3)
    best = toolchain.evaluate(run.path, split="val", workers=0).accuracy
    assert best == pytest.approx(max(row["val_accuracy"] for row in epochs), abs=1e-6)


def test_the_run_is_one_as_any_other(run: RunFolder) -> None:
    settings = tomllib.loads(run.settings.read_text())
    assert settings["strategy"] == "head"
    assert settings["budget"] == ""
    evaluation = toolchain.evaluate(run.path, workers=0)
    assert evaluation.accuracy > 0.8


def test_a_run_that_was_killed_before_its_first_checkpoint_ends_with_the_same_weights(
    run: RunFolder, tmp_path: Path
) -> None:
    killed = RunFolder(tmp_path / "killed")
    killed.path.mkdir()
    for file in (run.settings, run.selection):
        shutil.copy(file, killed.path)
    result = toolchain.resume(killed.path, workers=0)
    assert killed.weights.read_bytes() == run.weights.read_bytes()
    assert result.selection == read_selection(run)


def test_where_an_earlier_stage_decides_the_run_reads_it(
    stripes: Path, random_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stage_features

    def features(spec: FeatureSpec, samples: Sequence[Sample], *rest: Any, **named: Any) -> Any:
        """Return noise for the later stages, and the labels for layer2."""
        made = dict(real(spec, samples, *rest, **named))
        noise = np.random.default_rng(0).normal(size=(len(samples), 20)).astype(np.float32)
        labels = np.array([sample.labels[0] for sample in samples])
        clear = noise + 5 * np.eye(20, dtype=np.float32)[labels]
        return made | {"layer1": noise, "layer2": clear, "layer3": noise, "layer4": noise}

    monkeypatch.setattr("toolchain.select.budget_search.stage_features", features)
    settings = SMALL | {"weights": str(random_weights), "budget": "10m"}
    result = toolchain.finetune(stripes, tmp_path / "run", **settings)  # type: ignore[arg-type]
    selection = result.selection
    assert selection is not None
    assert selection.chosen["head_stages"] == "all"
    assert selection.reason.startswith("the probe on all four stages is shown to be better")
    run = TrainedRun.open(result.run.path)
    assert (run.settings.head_stages, run.card.head_stages) == ("all", "all")
    assert run.classifier.network.get_submodule("fc").in_features == 64 + 128 + 256 + 512
    killed = RunFolder(tmp_path / "killed")
    killed.path.mkdir()
    for file in (run.folder.settings, run.folder.selection):
        shutil.copy(file, killed.path)
    toolchain.resume(killed.path, workers=0)
    assert killed.weights.read_bytes() == run.folder.weights.read_bytes()


def test_a_budget_shorter_than_a_pass_of_the_images_is_refused_with_what_it_needs(
    rtl_here: Rtl,
    stripes: Path,
    random_weights: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Another test may have kept the features of these images.
    monkeypatch.setenv("RTL_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    words = ("--weights", random_weights, "--size", 64, "--workers", 0, "--budget", "1s")
    done = rtl_here("finetune", stripes, *words)
    assert done.returncode == 2
    assert "--budget: 1s is shorter than a pass of the images; here it needs about" in done.stderr
    assert "hint: --budget " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_budget_that_is_over_before_a_training_is_refused_though_features_are_kept(
    run: RunFolder, stripes: Path, random_weights: Path, tmp_path: Path
) -> None:
    settings = SMALL | {"weights": str(random_weights), "budget": "200ms"}
    with pytest.raises(SettingsError, match=r"200ms is .*; here it needs about") as caught:
        toolchain.finetune(stripes, tmp_path / "run", **settings)  # type: ignore[arg-type]
    assert budget_seconds(str(caught.value.instead[0]["budget"])) >= 3
    for change in caught.value.instead[1:]:
        read_settings(None, {"data": str(stripes)} | settings | change)
    assert not (tmp_path / "run").exists()


def test_what_is_needed_is_no_guess_from_a_pass_that_had_not_begun(
    stripes: Path, random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow_to_begin(*_: object, **__: object) -> StageFeatures:
        time.sleep(0.5)  # an engine that is built
        raise OutOfTime

    monkeypatch.setattr("toolchain.select.budget_search.stage_features", slow_to_begin)
    given = SMALL | {"weights": str(random_weights), "budget": "1s"}
    choose = chooser_for(gather_settings(None, given | {"data": str(stripes)}))
    assert choose is not None
    with pytest.raises(SettingsError, match="1s is shorter than a pass") as caught:
        choose(inputs_for(stripes, **given), SilentReporter())
    assert budget_seconds(str(caught.value.instead[0]["budget"])) < 20


@pytest.mark.parametrize("text", ["", "five minutes", "5 m 3 s", "-5m", "0s", "1e9h", "5d"])
def test_a_budget_that_is_none_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(SettingsError, match="budget: ") as caught:
        budget_seconds(text)
    assert budget_seconds(str(caught.value.instead[0]["budget"])) > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strategy": "head"}, "strategy: a budget searches for one, and head is given"),
        ({"epochs": 3}, "epochs: a budget chooses it"),
        ({"head_stages": "all"}, "head_stages: a budget chooses it"),
        ({"lr_head": 0.1}, "lr_head: a budget chooses it"),
        ({"freeze_until": "layer3"}, "freeze_until: a budget chooses it"),
        ({"weights": "none"}, "budget: a search measures what the features of pretrained weights"),
        ({"task": "multi-label"}, "budget: a budget compares by images of one class each"),
    ],
)
def test_what_a_budget_decides_cant_be_given(given: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_settings(None, {"data": "photos", "budget": "5m"} | given)


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"epochs": 3}, "--strategy head --budget ''"),
        ({"weights": "none"}, "--budget '' --strategy full or --weights imagenet"),
        ({"strategy": "head"}, "--strategy auto or --budget ''"),
        ({"task": "multi-label"}, "--budget '' --strategy auto or --budget '' --strategy head"),
    ],
)
def test_each_hint_of_a_budget_works_as_it_is_pasted(given: dict[str, object], hint: str) -> None:
    words = {"data": "photos", "budget": "5m"} | given
    with pytest.raises(SettingsError) as caught:
        gather_settings(None, words, options=True)
    assert caught.value.hint == hint
    for change in caught.value.instead:
        gather_settings(None, words | change, options=True)


def test_what_does_not_fit_the_epochs_of_a_search_is_refused_before_the_images_pass(
    stripes: Path, random_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def passed(*_: object) -> None:
        raise AssertionError("the images have passed through the network")

    monkeypatch.setattr("toolchain.select.budget_search.stage_features", passed)
    given = {"weights": str(random_weights), "size": 64, "start_size": 32, "start_size_epochs": 12}
    given |= {"budget": "5m"}
    choose = chooser_for(gather_settings(None, given | {"data": str(stripes)}))
    assert choose is not None
    with pytest.raises(SettingsError, match="12 of 10 leave none"):
        choose(inputs_for(stripes, **given), SilentReporter())


def test_a_budget_takes_the_strategy_auto() -> None:
    assert read_settings(None, {"data": "photos", "budget": "5m"}).strategy == "auto"


def test_training_ends_after_the_epoch_that_still_fits(
    stripes: Path, random_weights: Path, tmp_path: Path
) -> None:
    given = SMALL | {"data": str(stripes), "weights": str(random_weights), "epochs": 5}
    settings = read_settings(None, given | {"augment": "none"})

    def over(inputs: ChoiceInputs, _: object) -> Choice:
        return Choice(inputs.settings, deadline=time.monotonic())

    result = finetune(settings, tmp_path / "run", choosers=Choosers(settings=over))
    assert result.summary.epochs == 1
    lines = result.run.metrics.read_text().splitlines()
    assert [json.loads(line).get("epoch") for line in lines] == [1, None]
    assert not result.run.checkpoints.exists()
