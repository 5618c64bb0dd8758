"""What trackers get of a training, how they learn its end, and what their failures do to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from toolchain.errors import MissingExtraError, TrainingError
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.distributed import Processes
from toolchain.training.epoch_log import EpochLog
from toolchain.training.trackers import trackers
from toolchain.training.trackers.trackers import Trackers, require_trackers

ROW = {
    "epoch": 1,
    "train_loss": 0.75,
    "train_accuracy": 0.5,
    "val_loss": 0.5,
    "val_accuracy": 0.875,
    "val_auc": None,
    "learning_rates": [0.01, 0.001],
    "trained_layers": 2,
    "seconds": 1.25,
}
SECOND = {**ROW, "epoch": 2, "val_accuracy": 0.9375}
REPORTED = {
    "loss/train": 0.75,
    "accuracy/train": 0.5,
    "loss/val": 0.5,
    "accuracy/val": 0.875,
    "learning_rate/0": 0.01,
    "learning_rate/1": 0.001,
}


class Summary(msgspec.Struct):
    """What stays of a training; trackers get its numbers."""

    epochs: int = 2
    best_epoch: int = 2
    val_accuracy: float = 0.9375
    temperature_reason: str | None = "too few"


class Lines:
    """A progress reporter that keeps its messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def track(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is tracked here")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    (tmp_path / "my-run").mkdir()
    return RunFolder(tmp_path / "my-run")


@pytest.fixture
def log(run: RunFolder) -> Callable[..., EpochLog]:
    def opened(**settings: Any) -> EpochLog:
        progress: Any = Lines()
        return EpochLog(run, FinetuneSettings(data="photos", **settings), Processes(), progress)

    return opened


def lines_of(log: EpochLog) -> list[str]:
    lines: list[str] = getattr(log.progress, "lines")  # noqa: B009  (of Lines)
    return lines


def write(log: EpochLog, row: dict[str, Any]) -> None:
    log.write("epoch", {"val_macro_f1": 0.5, **row})


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's client, with a folder as its server."""
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "server").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "fruit")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def the_run(client: Any) -> Any:
    experiment = client.get_experiment_by_name("fruit")
    [found] = client.search_runs([experiment.experiment_id])
    return found


def test_mlflow_gets_settings_epochs_and_the_summary(
    log: Callable[..., EpochLog], mlflow: Any
) -> None:
    opened = log(mlflow=True, epochs=7)
    with opened.reported_end():
        write(opened, ROW)
        write(opened, SECOND)
        opened.summary = Summary()
    found = the_run(mlflow)
    assert found.info.run_name == "my-run"
    assert found.info.status == "FINISHED"
    assert found.data.params["epochs"] == "7"
    assert found.data.params["data"] == "photos"
    history = mlflow.get_metric_history(found.info.run_id, "accuracy/val")
    assert [(point.step, point.value) for point in history] == [(1, 0.875), (2, 0.9375)]
    assert {name: found.data.metrics[name] for name in ("loss/train", "learning_rate/1")} == {
        "loss/train": 0.75,
        "learning_rate/1": 0.001,
    }
    assert found.data.metrics["best_epoch"] == 2


def test_a_resumed_run_goes_on_in_the_same_mlflow_run(
    log: Callable[..., EpochLog], mlflow: Any
) -> None:
    with pytest.raises(KeyboardInterrupt):  # noqa: SIM117
        with log(mlflow=True).reported_end():
            raise KeyboardInterrupt
    assert the_run(mlflow).info.status == "KILLED"
    resumed = log(mlflow=True)
    assert the_run(mlflow).info.status == "RUNNING"
    write(resumed, ROW)
    with pytest.raises(MemoryError), resumed.reported_end():
        raise MemoryError
    assert the_run(mlflow).info.status == "FAILED"
    assert the_run(mlflow).data.metrics["accuracy/val"] == 0.875


def test_a_server_that_cannot_be_used_is_an_error_before_the_training(
    mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrainingError, match="MLflow can't be used: ") as error:
        require_trackers(FinetuneSettings(mlflow=True))
    assert "\n" not in str(error.value)
    assert "MLFLOW_TRACKING_URI" in str(error.value.hint)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_wandb_keeps_a_run_offline_and_goes_on_with_it(
    log: Callable[..., EpochLog], run: RunFolder, wandb: None, capfd: pytest.CaptureFixture[str]
) -> None:
    for row in (ROW, SECOND):
        opened = log(wandb=True)
        with opened.reported_end():
            write(opened, row)
            opened.summary = Summary()
    assert lines_of(opened)[-1].startswith("epoch")
    first, second = sorted(run.wandb.glob("offline-run-*"))
    identity = json.loads(run.trackers.read_text())["wandb"]
    assert first.name.endswith(identity)
    assert second.name.endswith(identity)
    written = b"".join(file.read_bytes() for file in first.glob("*.wandb"))
    for tag in ("accuracy/val", "learning_rate/0", "best_epoch"):
        assert tag.encode() in written
    assert capfd.readouterr() == ("", "")


def test_wandb_without_a_login_is_an_error_before_the_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(TrainingError, match="not logged in") as error:
        require_trackers(FinetuneSettings(wandb=True))
    assert "WANDB_MODE=offline" in str(error.value.hint)


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_tracker_that_is_not_installed_is_named_with_its_extra(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def missing(module: str, **_: Any) -> Any:
        raise MissingExtraError(name, name)

    monkeypatch.setattr(f"toolchain.training.trackers.{name}.import_extra", missing)
    settings = FinetuneSettings(mlflow=name == "mlflow", wandb=name == "wandb")
    with pytest.raises(MissingExtraError, match=f"{name} is not installed") as error:
        require_trackers(settings)
    assert error.value.hint == f'pip install "rtl-toolchain[{name}]"'


class Failing:
    """A tracker whose server ends after the first epoch."""

    title = "MLflow"

    def __init__(self, *_: object) -> None:
        self.rows: list[int] = []

    def write(self, row: dict[str, Any]) -> None:
        self.rows.append(row["epoch"])
        if len(self.rows) == 2:
            raise ConnectionError("the server\nis gone")

    def close(self, *_: object) -> None:
        raise AssertionError("it was left")


def test_a_tracker_that_fails_while_training_is_left_and_the_training_goes_on(
    log: Callable[..., EpochLog], run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "MLflow", Failing)
    opened = log(mlflow=True)
    assert opened.trackers is not None
    [tracker] = opened.trackers.open
    with opened.reported_end():
        for row in (ROW, SECOND, {**ROW, "epoch": 3}):
            write(opened, row)
    assert getattr(tracker, "rows") == [1, 2]  # noqa: B009  (of Failing)
    said = [line for line in lines_of(opened) if "MLflow" in line]
    assert said == ["MLflow gets nothing more of this training: the server is gone"]
    assert len(run.metrics.read_text().splitlines()) == 3
    assert not opened.trackers.open


def test_no_tracker_is_opened_unless_asked_for(run: RunFolder) -> None:
    progress: Any = Lines()
    assert Trackers(run, FinetuneSettings(), progress).open == []
    assert not run.trackers.exists()
