"""`--cv` and `--try strategies`: each image is held out once, nothing is written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

import toolchain
from tests.conftest import Rtl, draw_stripes
from toolchain.errors import DataError, SettingsError, TrainingError
from toolchain.progress import SilentReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import read_settings
from toolchain.select.inputs import labelled_images, make_pool
from toolchain.select.try_strategies import STRATEGIES, try_strategies
from toolchain.training.choosing import ChoiceInputs
from toolchain.training.data import read_data
from toolchain.training.distributed import Processes
from toolchain.training.fold_trainer import keep_features, train_fold
from toolchain.training.starting_weights import make_starting_weights

SMALL = ("--size", 32, "--workers", 0, "--epochs", 2, "--batch-size", 16)


def inputs_for(data: Path, **given: object) -> ChoiceInputs:
    settings = read_settings(None, {"data": str(data), "size": 32, "workers": 0} | given)
    dataset, _ = read_data(settings, None, Processes(), SilentReporter())
    start = make_starting_weights(settings, dataset.classes, SilentReporter())
    return ChoiceInputs(settings, dataset, start, torch.device("cpu"))


def test_cv_reports_an_accuracy_with_its_interval_and_writes_nothing(
    rtl_here: Rtl, stripes: Path, random_weights: Path, tmp_path: Path
) -> None:
    words = ("--weights", random_weights, "--augment", "none", "--cv", 3, "--json")
    done = rtl_here("finetune", stripes, *words, *SMALL)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["images"] == 48  # of the training split: the data has one for validation
    assert found["folds"] == len(found["fold_accuracies"]) == 3
    low, high = found["accuracy_interval"]
    assert low < found["accuracy"] < high
    assert np.isclose(found["accuracy"], np.mean(found["fold_accuracies"]))
    assert "next: rtl finetune" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_set_without_a_split_is_taken_whole(tmp_path: Path) -> None:
    for label in ("across", "down"):
        for number in range(4):
            draw_stripes(tmp_path / label / f"{number}.png", label, number)
    dataset, _ = read_data(
        read_settings(None, {"data": str(tmp_path)}), None, Processes(), SilentReporter()
    )
    assert len(labelled_images(dataset)) == 8
    pool = make_pool(dataset, labelled_images(dataset), 5, seed=0)
    assert pool.folds == [0, 1, 2, 3]
    assert sum(len(pool.split(fold)[1]) for fold in pool.folds) == 8


def test_fewer_folds_than_asked_for_are_said(
    rtl_here: Rtl, random_weights: Path, tmp_path: Path
) -> None:
    for label in ("across", "down"):
        for number in range(4):
            draw_stripes(tmp_path / "set" / label / f"{number}.png", label, number)
    words = ("--weights", random_weights, "--augment", "none", "--cv", 99, "--json")
    done = rtl_here("finetune", tmp_path / "set", *words, *SMALL)
    assert json.loads(done.stdout)["folds"] == 4
    assert "--cv 99: 4 folds, as no class has images for more" in done.stderr


def test_a_class_that_cant_be_in_two_folds_is_refused(tmp_path: Path) -> None:
    for label in ("across", "down"):
        for number in range(4):
            draw_stripes(tmp_path / label / f"{number}.png", label, number)
    dataset, _ = read_data(
        read_settings(None, {"data": str(tmp_path)}), None, Processes(), SilentReporter()
    )
    samples = [s for s in labelled_images(dataset) if s.labels[0] == 0 or s.path.stem == "1"]
    with pytest.raises(DataError, match="'down' has 1 image to compare by"):
        make_pool(dataset, samples, 5, seed=0)


def test_images_of_a_group_are_held_out_together(stripes: Path) -> None:
    inputs = inputs_for(stripes, weights="none", strategy="full")
    samples = inputs.dataset.train
    groups = {sample.path: f"object {number // 3}" for number, sample in enumerate(samples)}
    pool = make_pool(replace(inputs.dataset, groups=groups), samples, 5, seed=0)
    for fold in pool.folds:
        train, held_out = pool.split(fold)
        assert not {groups[s.path] for s in train} & {groups[s.path] for s in held_out}


def test_a_fold_is_trained_from_the_probe_and_measured_in_the_order_of_its_images(
    stripes: Path, random_weights: Path
) -> None:
    inputs = inputs_for(
        stripes,
        weights=str(random_weights),
        strategy="partial",
        head_start="probe",
        epochs=1,
        lr_head=1e-6,
        lr_backbone=1e-6,
        augment="none",
    )
    samples = inputs.dataset.train
    keep_features(inputs, inputs.settings, samples, SilentReporter())
    pool = make_pool(inputs.dataset, samples, 3, seed=0)
    before = {name: tensor.clone() for name, tensor in inputs.start.classifier.state_dict().items()}
    train, held_out = pool.split(0)
    outputs = train_fold(inputs, inputs.settings, train, held_out, SilentReporter())
    assert outputs.labels.tolist() == [sample.labels[0] for sample in held_out]
    assert outputs.accuracy > 0.8  # the probe alone: nothing else learns at such rates
    after = inputs.start.classifier.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_strategies_are_compared_in_a_table(
    rtl_here: Rtl,
    stripes: Path,
    random_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("toolchain.select.try_strategies.FOLDS", 2)
    few = tuple(s for s in STRATEGIES if s["strategy"] in ("head", "partial", "two-stage"))
    monkeypatch.setattr("toolchain.select.try_strategies.STRATEGIES", few)
    words = ("--weights", random_weights, "--augment", "none", "--head-epochs", 1)
    more = ("--budget", "1h", "--try", "strategies", "--json")
    done = rtl_here("finetune", stripes, *words, *SMALL, *more)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["asked"] == {"try": "strategies", "budget": "1h"}
    names = {row["name"] for row in found["measured"]}
    assert names == {"head", "partial", "two-stage"}
    assert [row["verdict"] for row in found["measured"]].count("chosen") == 1
    tried = [row["accuracy"] for row in found["measured"] if row["verdict"] in ("chosen", "tie")]
    assert tried == sorted(tried, reverse=True)
    assert f"--strategy {found['chosen']['strategy']}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("budget", "hint"), [("1s", "10m"), ("10m", "20m"), ("45m", "90m")])
def test_a_budget_that_ends_too_early_hints_at_a_longer_one(
    stripes: Path, random_weights: Path, monkeypatch: pytest.MonkeyPatch, budget: str, hint: str
) -> None:
    monkeypatch.setattr("toolchain.select.try_strategies.run_rounds", lambda *_: None)
    settings = read_settings(
        None, {"data": str(stripes), "weights": str(random_weights), "budget": budget, "size": 32}
    )
    with pytest.raises(TrainingError, match=f"--try: {budget} ended before") as raised:
        try_strategies(settings, frozenset())
    assert raised.value.hint == f"--budget {hint}, or a smaller --size"


def test_all_fixed_strategies_are_compared() -> None:
    [*choices, auto] = get_args(get_type_hints(FinetuneSettings)["strategy"])
    assert auto == "auto"
    assert {recipe["strategy"] for recipe in STRATEGIES} == set(choices)


def test_a_strategy_cant_be_given_to_a_comparison_of_all() -> None:
    with pytest.raises(SettingsError, match="strategy: --try compares all strategies"):
        toolchain.try_strategies("photos", strategy="head")


@pytest.mark.parametrize("words", [("--cv", 5, "--lr-find"), ("--cv", 5, "--try", "strategies")])
def test_only_one_way_to_keep_nothing_at_a_time(
    rtl_here: Rtl, stripes: Path, words: tuple[object, ...]
) -> None:
    done = rtl_here("finetune", stripes, *words)
    assert done.returncode == 2
    assert "can't go together" in done.stderr


def test_cross_validation_takes_no_budget(stripes: Path) -> None:
    with pytest.raises(SettingsError, match="budget: --cv measures one way to train"):
        toolchain.cross_validate(stripes, budget="5m")


def test_a_batch_that_no_fold_can_train_on_is_refused(
    rtl_here: Rtl, stripes: Path, random_weights: Path
) -> None:
    words = ("--weights", random_weights, "--size", 32, "--batch-size", 1, "--workers", 0)
    done = rtl_here("finetune", stripes, *words, "--strategy", "full", "--cv", 3)
    assert done.returncode == 2, done.stderr
    assert "BatchNorm can't train on it" in done.stderr
