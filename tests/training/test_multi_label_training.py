"""Multi-label training from a CSV, by the command line."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import RANDOM_WEIGHTS
from tests.training.test_finetune import epochs_of
from toolchain.cli.main import run_command
from toolchain.evaluation.evaluate import evaluate
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings_file import read_settings

CLASSES = ("across", "aslant", "down")
SETTINGS = (
    *("--task", "multi-label", "--size", "32", "--batch-size", "16"),
    *("--weights", str(RANDOM_WEIGHTS)),
)
LEARNING = ("--lr-head", "0.01", "--epochs", "12", "--augment", "none", "--workers", "0")


def draw(path: Path, labels: tuple[str, ...], seed: int) -> None:
    """Write a very noisy image with stripes in each of these directions."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :40]
    level = np.full((40, 40), 127.0)
    for label, along in zip(CLASSES, (y, (x + y) / 1.4, x), strict=True):
        if label in labels:
            level += 45 * np.sin(along / 2.0 + rng.uniform(0, 6))
    pixels = np.clip(level[:, :, None] + rng.normal(0, 40, (40, 40, 3)), 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV of 64 training and 32 validation images, the same number for each set of classes."""
    folder = tmp_path_factory.mktemp("several")
    sets = [s for count in range(4) for s in itertools.combinations(CLASSES, count)]
    rows = [["file", "labels", "split"]]
    for number in range(96):
        name, labels = f"img/{number:02}.png", sets[number % 8]
        draw(folder / name, labels, number)
        rows.append([name, ";".join(labels), "train" if number < 64 else "val"])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "labels.csv"


def train(table: Path, folder: Path, *words: str) -> RunFolder:
    run = RunFolder(folder / "run")
    command = ["finetune", str(table), "-o", str(run.path), *SETTINGS, *LEARNING, "--json"]
    assert run_command([*command, *words]) == 0
    return run


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with the default loss for multi-label; the best epoch is that of the highest AUC."""
    return train(table, tmp_path_factory.mktemp("plain"), "--metric", "auc")


def assert_learnt(run: RunFolder) -> None:
    first, *_, last = epochs_of(run)
    assert last["val_auc"] > max(0.8, first["val_auc"] + 0.1)
    assert last["val_macro_f1"] > first["val_macro_f1"] + 0.2
    assert last["train_loss"] < 0.8 * first["train_loss"]


def test_training_raises_auc_and_f1(run: RunFolder) -> None:
    assert_learnt(run)
    assert read_settings(run.settings, {}).loss == "bce"


def test_the_focal_loss_with_class_weights_raises_them_too_and_the_json_holds_them(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(table, tmp_path, "--loss", "focal", "--class-weights")
    assert_learnt(run)
    report = json.loads(capsys.readouterr().out)
    best = epochs_of(run)[report["best_epoch"] - 1]
    for name in ("val_accuracy", "val_macro_f1", "val_auc"):
        assert report[name] == pytest.approx(best[name], abs=1e-6)


def test_the_card_of_the_run_names_the_task(run: RunFolder) -> None:
    card = run.read_card()
    assert (card.task, card.classes) == ("multi-label", CLASSES)
    assert run.curves.is_file()
    assert not run.confusion.exists()


def test_the_evaluation_equals_the_validation_of_the_best_epoch(run: RunFolder) -> None:
    best = max(epochs_of(run), key=lambda row: (row["val_auc"], -row["val_loss"]))
    result = evaluate(run.path, workers=0)
    assert (result.task, result.images) == ("multi-label", 32)
    assert result.loss == pytest.approx(best["val_loss"], rel=1e-3)
    assert result.auc == pytest.approx(best["val_auc"], abs=0.01)
    # An image is right when all of its classes are.
    right = [set(r.labels or ()) == set(r.predicted_labels or ()) for r in result.results]
    assert sum(right) / 32 == pytest.approx(best["val_accuracy"], abs=1 / 32)


def test_mixing_smoothing_and_averaging_work_for_multi_label(table: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "mixup": 0.4,
        "cutmix": 1.0,
        "label-smoothing": 0.1,
        "ema": 0.5,
        "accumulate": 2,
        "epochs": 6,
        "metric": "macro_f1",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    run = train(table, tmp_path, *words, "--class-weights")
    rows = epochs_of(run)
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    best = max(rows, key=lambda row: (row["val_macro_f1"], -row["val_loss"]))
    assert evaluate(run.path, workers=0).loss == pytest.approx(best["val_loss"], rel=1e-4)
