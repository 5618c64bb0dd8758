from __future__ import annotations

import json
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from PIL import Image
from safetensors.torch import load_file

from tests.conftest import RANDOM_WEIGHTS, draw_stripes, tree_digest
from toolchain.display import as_text
from toolchain.errors import DataError, TrainingError
from toolchain.networks.weights import state_sha256
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import read_settings
from toolchain.runtime.card import decode_card
from toolchain.training.artifacts import Summary
from toolchain.training.finetune import _fit, finetune
from toolchain.training.finetune_result import FinetuneResult

pytestmark = pytest.mark.usefixtures("no_plots")


def small(data: Path, **given: object) -> FinetuneSettings:
    fixed = {
        "data": str(data),
        "weights": "none" if given.get("strategy", "full") == "full" else str(RANDOM_WEIGHTS),
        "strategy": "full",
        "size": 32,
        "epochs": 1,
        "batch_size": 16,
        "workers": 0,
    }
    return read_settings(None, {**fixed, **given})


def epochs_of(run: RunFolder) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl that are epochs, without the summary after them."""
    *epochs, last = (json.loads(line) for line in run.metrics.read_text().splitlines())
    assert list(last) == ["summary"]
    return epochs


def test_a_run_folder_holds_settings_metrics_model_card_audit_and_plots(run_folder: Path) -> None:
    names = {path.name for path in run_folder.iterdir()}
    assert {
        "settings.toml",
        "metrics.jsonl",
        "model.safetensors",
        "card.json",
        "audit.json",
        "curves.png",
        "confusion.png",
        "evaluation.json",
    } <= names
    assert [row["epoch"] for row in epochs_of(RunFolder(run_folder))] == [1, 2, 3, 4]
    assert tomllib.loads((run_folder / "settings.toml").read_text())["size"] == 64
    with Image.open(run_folder / "curves.png") as picture:
        assert picture.width > 800


def test_the_last_line_of_the_metrics_sums_up_the_best_epoch(run_folder: Path) -> None:
    run = RunFolder(run_folder)
    summary = json.loads(run.metrics.read_text().splitlines()[-1])["summary"]
    best = epochs_of(run)[summary["best_epoch"] - 1]
    for name in ("val_loss", "val_accuracy", "val_macro_f1", "val_auc"):
        assert summary[name] == pytest.approx(best[name], abs=1e-6)
    assert summary["temperature"] == run.read_card().temperature


def test_the_kept_weights_are_those_of_the_best_epoch(stripes: Path, tmp_path: Path) -> None:
    result = finetune(small(stripes, epochs=3, lr_head=1e-3, lr_backbone=1e-3), tmp_path / "run")
    rows = epochs_of(result.run)
    best = max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert result.summary.best_epoch == best["epoch"]
    assert result.summary.val_accuracy == pytest.approx(best["val_accuracy"], abs=1e-6)
    card = decode_card(result.run.card.read_bytes(), source="card")
    assert card.weights.sha256 == state_sha256(load_file(result.run.weights))


def test_the_same_seed_gives_the_same_weights(stripes: Path, tmp_path: Path) -> None:
    digests = []
    for name, seed, workers in (("a", 7, 0), ("b", 7, 2), ("c", 8, 0)):
        settings = small(stripes, seed=seed, workers=workers, dropout=0.3, augment="s1")
        run = finetune(settings, tmp_path / name).run
        digests.append(run.read_card().weights.sha256)
    assert digests[0] == digests[1] != digests[2]


def test_the_data_folder_is_only_read(stripes: Path, tmp_path: Path) -> None:
    before = tree_digest(stripes)
    finetune(small(stripes), tmp_path / "run")
    assert tree_digest(stripes) == before


def test_a_run_inside_the_data_folder_is_refused(stripes: Path) -> None:
    before = tree_digest(stripes)
    with pytest.raises(DataError, match="never writes to"):
        finetune(small(stripes), stripes / "run")
    assert tree_digest(stripes) == before


def test_a_folder_that_is_not_empty_is_not_overwritten(stripes: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(TrainingError, match="is not empty"):
        finetune(small(stripes), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_class_missing_from_val_changes_no_label(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for label in ("across", "aslant", "down"):
        for i in range(4):
            draw_stripes(data / "train" / label / f"{i}.jpg", label, i)
    for label in ("aslant", "down"):
        draw_stripes(data / "val" / label / "0.jpg", label, 99)
    result = finetune(small(data, batch_size=4), tmp_path / "run")
    assert result.dataset.classes == ("across", "aslant", "down")
    assert {sample.label for sample in result.dataset.val} == {1, 2}


def test_a_loss_that_is_not_finite_stops_with_a_hint(stripes: Path, tmp_path: Path) -> None:
    # No user's settings have such rates: the bounds refuse them.
    rates = {"lr_head": 1e30, "lr_backbone": 1e30}
    settings = msgspec.structs.replace(small(stripes, optimizer="sgd", epochs=3), **rates)
    with pytest.raises(TrainingError, match="the loss became") as caught:
        finetune(settings, tmp_path / "run")
    assert str(caught.value.hint).startswith("try --lr-head 0.005, --lr-backbone 0.0001, ")


def test_early_stopping_ends_after_its_patience(stripes: Path, tmp_path: Path) -> None:
    # A rate this small changes nothing, so that no epoch is better than the first.
    rates = {"lr_head": 1e-30, "lr_backbone": 1e-30, "weight_decay": 0.0}
    settings = small(stripes, epochs=9, early_stopping=2, strategy="head", augment="none")
    settings = msgspec.structs.replace(settings, **rates)
    result = finetune(settings, tmp_path / "run")
    assert (result.summary.best_epoch, result.summary.epochs) == (1, 3)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [1e-3] * 4), ("cosine", [1e-3, 8.54e-4, 5e-4, 1.47e-4])],
)
def test_rates_follow_their_schedule(
    stripes: Path, tmp_path: Path, schedule: str, expected: list[float]
) -> None:
    settings = small(
        stripes, epochs=4, schedule=schedule, strategy="head", lr_head=1e-3, augment="none"
    )
    run = finetune(settings, tmp_path / "run").run
    assert [row["learning_rates"][0] for row in epochs_of(run)] == pytest.approx(expected, rel=0.01)


def test_the_report_of_a_result_has_the_documented_keys_and_their_values() -> None:
    summary = Summary(
        epochs=4,
        best_epoch=3,
        val_loss=0.5,
        val_accuracy=0.75,
        val_macro_f1=0.7,
        val_auc=None,
        epochs_as_good=2,
        val_images=24,
        temperature=1.5,
        temperature_reason=None,
        calibration_error=(0.2, 0.1),
        findings=[],
    )
    unused: Any = None
    result = FinetuneResult(RunFolder("runs/photos"), unused, unused, summary, seconds=1.23456)
    assert msgspec.json.decode(msgspec.json.encode(result.report)) == {
        "version": 1,
        "run": "runs/photos",
        "best_epoch": 3,
        "epochs": 4,
        "epochs_as_good": 2,
        "val_images": 24,
        "val_accuracy": 0.75,
        "val_macro_f1": 0.7,
        "val_auc": None,
        "temperature": 1.5,
        "temperature_reason": None,
        "calibration_error": [0.2, 0.1],
        "findings": [],
        "selection": None,
        "seconds": 1.235,
    }


def test_few_validation_images_neither_lower_the_rate_nor_end_the_run(
    tmp_path: Path, random_weights: Path
) -> None:
    for split, numbers in (("train", range(8)), ("val", range(8, 10))):
        for label in ("across", "down"):
            for number in numbers:
                draw_stripes(tmp_path / "few" / split / label / f"{number}.png", label, number)
    given = {"schedule": "plateau", "plateau_patience": 0, "early_stopping": 1, "metric": "loss"}
    # With a rate as high as this the loss does not fall.
    settings = small(tmp_path / "few", epochs=4, strategy="head", lr_head=5.0, **given)
    result = finetune(settings, tmp_path / "run")
    rows = epochs_of(result.run)
    assert len(rows) == 4
    assert len({row["learning_rates"][0] for row in rows}) == 1
    assert result.summary.temperature == 1
    text = as_text(result.blocks())
    assert f"no temperature: {result.summary.temperature_reason}" in text
    assert "4 " in str(result.summary.temperature_reason)


@pytest.mark.parametrize(
    ("over", "epoch", "said"), [(True, 1, True), (True, 10, False), (False, 1, False)]
)
def test_a_training_that_the_budget_ends_says_so(over: bool, epoch: int, said: bool) -> None:
    lines: list[str] = []
    setup = SimpleNamespace(
        settings=SimpleNamespace(epochs=10), processes=SimpleNamespace(is_rank_zero=False)
    )
    trainer: Any = SimpleNamespace(
        setup=setup,
        epoch=epoch,
        fit=lambda: None,
        is_out_of_time=lambda: over,
        progress=SimpleNamespace(message=lines.append),
    )
    nothing: Any = None
    _fit(trainer, nothing, nothing, None)
    assert lines == ["the time is over after 1 of 10 epochs"] * said
