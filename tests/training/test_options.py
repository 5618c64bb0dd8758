"""Each option of training, alone and with all others, from images to a run that is evaluated."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import RANDOM_WEIGHTS
from tests.training.test_finetune import epochs_of, small
from toolchain.cli.main import run_command
from toolchain.evaluation.evaluate import Evaluation, evaluate
from toolchain.exporters.export import accepted_models, export
from toolchain.exporters.variants import Variant
from toolchain.metrics import confusion_plot
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import read_settings
from toolchain.training.analysis import plots
from toolchain.training.finetune import finetune
from toolchain.training.finetune_result import FinetuneResult

OPTIONS: dict[str, dict[str, Any]] = {
    "focal": {"loss": "focal"},
    "class weights": {"class_weights": True},
    "balanced sampling": {"balanced_sampling": True},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
    "mixup and cutmix": {"mixup": 0.4, "cutmix": 1.0},
    "label smoothing": {"label_smoothing": 0.1},
    "dropout": {"dropout": 0.3},
    "moving average": {"ema": 0.9},
    "accumulation": {"accumulate": 2},
    "randaugment": {"augment": "randaugment"},
    "trivialaugment": {"augment": "trivialaugment"},
}
ALL_AT_ONCE = {
    "loss": "focal",
    "class_weights": True,
    "balanced_sampling": True,
    "mixup": 0.4,
    "cutmix": 1.0,
    "label_smoothing": 0.1,
    "dropout": 0.3,
    "clip_norm": 1.0,
    "ema": 0.9,
    "accumulate": 2,
    "augment": "trivialaugment",
    "optimizer": "adamw",
    "schedule": "cosine",
    "warmup_epochs": 1,
    "metric": "macro_f1",
    "channels_last": True,
}

Train = Callable[..., FinetuneResult]


@pytest.fixture(scope="module", autouse=True)
def no_plots() -> Iterator[None]:
    """Skip the plots: they take two thirds of so short a run, and test_plots.py checks them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "draw_curves", lambda *words: None)
        patch.setattr(confusion_plot, "draw_confusion", lambda *words: None)
        yield


@pytest.fixture(scope="module")
def uneven(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stripes data set with 4 instead of 16 training images of one class."""
    folder = shutil.copytree(stripes, tmp_path_factory.mktemp("uneven") / "stripes")
    for image in sorted((folder / "train" / "aslant").iterdir())[4:]:
        image.unlink()
    return folder


def head(data: Path, **given: Any) -> FinetuneSettings:
    """Return settings of two epochs of the head only, changed by what is given."""
    fixed = {"strategy": "head", "augment": "none", "epochs": 2, "batch_size": 8}
    return small(data, **{**fixed, **given})


@pytest.fixture
def train(uneven: Path, tmp_path: Path) -> Iterator[Train]:
    """Return a function that trains with given settings; removes the runs, of 45 MB each."""

    def run(**given: Any) -> FinetuneResult:
        number = len(list(tmp_path.glob("run-*")))
        return finetune(head(uneven, **given), tmp_path / f"run-{number}")

    yield run
    for path in tmp_path.glob("run-*"):
        shutil.rmtree(path)


@pytest.fixture(scope="module")
def plain(uneven: Path, tmp_path_factory: pytest.TempPathFactory) -> FinetuneResult:
    """A run without any of the options."""
    return finetune(head(uneven), tmp_path_factory.mktemp("plain") / "run")


def weights_of(result: FinetuneResult) -> str:
    return result.run.read_card().weights.sha256


def assert_evaluates_as_trained(result: FinetuneResult) -> Evaluation:
    """Assert that `rtl evaluate` finds the validation metrics that training reported."""
    found = evaluate(result.run.path, workers=0)
    assert found.images == 24
    # Cached features have a mantissa of eleven bits; evaluation computes them again.
    assert found.loss == pytest.approx(result.summary.val_loss, rel=1e-3)
    assert found.accuracy == pytest.approx(result.summary.val_accuracy, abs=0.05)
    return found


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_changes_the_weights_of_a_run_that_can_be_evaluated(
    train: Train, plain: FinetuneResult, name: str
) -> None:
    with_it = train(**OPTIONS[name])
    assert weights_of(with_it) != weights_of(plain), "it changed nothing"
    first, last = (row["train_loss"] for row in epochs_of(with_it.run))
    assert last < first
    assert_evaluates_as_trained(with_it)


def test_a_run_with_all_options_at_once_can_be_exported(train: Train) -> None:
    result = train(**ALL_AT_ONCE)
    assert result.summary.epochs == 2
    assert_evaluates_as_trained(result)
    [exported] = accepted_models(export(result.run.path, [Variant("torchscript")], images=6))
    assert exported.verification.passed
    assert exported.path.is_file()


def test_clipping_keeps_the_steps_of_sgd_short(train: Train) -> None:
    given = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant"}
    clipped, still = (
        train(**given, clip_norm=norm, lr_head=1.0, epochs=1) for norm in (0.01, 1e-9)
    )
    end, start = load_file(clipped.run.weights), load_file(still.run.weights)
    moved = sum(float((end[name] - start[name]).square().sum()) for name in end) ** 0.5
    steps = 5  # 36 images in batches of 8
    assert 0.01 < moved <= 0.01 * steps * 1.01
    assert_evaluates_as_trained(clipped)


@pytest.mark.parametrize(("cache", "batch_size", "accumulate"), [(True, 4, 3), (False, 6, 2)])
def test_accumulated_small_batches_make_the_step_of_a_large_one(
    train: Train, cache: bool, batch_size: int, accumulate: int
) -> None:
    given = {"optimizer": "sgd", "lr_head": 0.05, "cache": cache}
    large = train(batch_size=12, **given).run
    small_ones = train(batch_size=batch_size, accumulate=accumulate, **given).run
    weights = load_file(large.weights)
    for name, tensor in load_file(small_ones.weights).items():
        torch.testing.assert_close(tensor, weights[name], atol=1e-5, rtol=1e-4)
    for found, expected in zip(epochs_of(small_ones), epochs_of(large), strict=True):
        assert found["train_loss"] == pytest.approx(expected["train_loss"], abs=1e-4)


def test_the_validated_moving_average_is_what_is_kept(train: Train) -> None:
    result = train(ema=0.9, cache=False)  # so that the figures are equal to rounding
    assert assert_evaluates_as_trained(result).loss == pytest.approx(
        result.summary.val_loss, abs=1e-5
    )


def test_the_best_epoch_is_best_by_the_chosen_metric(train: Train) -> None:
    # With so high a rate the metrics vary, each in its own way.
    given = {"lr_head": 0.1, "epochs": 5, "schedule": "constant"}
    best = {}
    for metric in ("accuracy", "macro_f1", "auc", "loss"):
        result = train(**given, metric=metric)
        scores = [row[f"val_{metric}"] for row in epochs_of(result.run)]
        wanted = min(scores) if metric == "loss" else max(scores)
        best[metric] = result.summary.best_epoch
        assert scores[best[metric] - 1] == wanted
    assert len(set(best.values())) > 1, "any metric would have chosen the same"


def test_tensorboard_holds_what_the_metrics_hold(train: Train, plain: FinetuneResult) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train(tensorboard=True).run
    [file] = run.tensorboard.iterdir()
    assert file.name.startswith("events.out.tfevents.")
    events = reader.EventAccumulator(str(file)).Reload()
    rows = epochs_of(run)
    for tag, name in (("accuracy/val", "val_accuracy"), ("loss/train", "train_loss")):
        points = [(point.step, point.value) for point in events.Scalars(tag)]
        assert points == [(row["epoch"], pytest.approx(row[name])) for row in rows]
    assert not plain.run.tensorboard.exists()


def test_a_config_and_the_same_options_make_the_same_run(uneven: Path, tmp_path: Path) -> None:
    options = {
        "weights": str(RANDOM_WEIGHTS),
        "strategy": "head",
        "size": 32,
        "epochs": 2,
        "workers": 0,
        "loss": "focal",
        "focal_gamma": 1.5,
        "class_weights": True,
        "cache": False,
        "ema": 0.9,
        "augment": "s1",
    }
    lines = [f"{key} = {toml(value)}" for key, value in options.items()]
    (tmp_path / "my.toml").write_text("\n".join(lines))
    config, typed = RunFolder(tmp_path / "config"), RunFolder(tmp_path / "options")
    common = ["finetune", str(uneven), "--quiet"]
    assert (
        run_command([*common, "--config", str(tmp_path / "my.toml"), "-o", str(config.path)]) == 0
    )
    words = [word for key, value in options.items() for word in option_words(key, value)]
    assert run_command([*common, *words, "-o", str(typed.path)]) == 0
    assert config.weights.read_bytes() == typed.weights.read_bytes()
    assert config.settings.read_text() == typed.settings.read_text()
    stored = read_settings(config.settings, {})
    assert {key: getattr(stored, key) for key in options} == options


def toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def option_words(key: str, value: object) -> list[str]:
    option = key.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    return [f"--{option}", str(value)]
