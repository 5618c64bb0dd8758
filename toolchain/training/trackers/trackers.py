"""The trackers of one training. One that fails later on is left, and the training goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolchain.errors import Interrupted
from toolchain.progress import ProgressReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.trackers.mlflow import MLflow, open_mlflow
from toolchain.training.trackers.tensorboard import TensorBoard, require_tensorboard
from toolchain.training.trackers.tracker import Outcome, Tracker, reason
from toolchain.training.trackers.wandb import Wandb, require_wandb


class Trackers:
    """Reports to the trackers that the settings ask for."""

    def __init__(
        self, run: RunFolder, settings: FinetuneSettings, progress: ProgressReporter
    ) -> None:
        """Open them. Raises MissingExtraError and TrainingError as `require_trackers`."""
        self.progress = progress
        self.open: list[Tracker] = []
        if settings.tensorboard:
            self.open.append(TensorBoard(run))
        if settings.mlflow:
            self.open.append(MLflow(run, settings))
        if settings.wandb:
            self.open.append(Wandb(run, settings))

    def write(self, row: dict[str, Any]) -> None:
        """Report one line of metrics.jsonl."""
        self._each(lambda tracker: tracker.write(row))

    def close(self, error: BaseException | None, summary: dict[str, Any]) -> None:
        """Report the end of the training: `error` is what ended it early, if anything did."""
        self._each(lambda tracker: tracker.close(_outcome(error), summary))
        self.open = []

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for tracker in list(self.open):
            try:
                act(tracker)
            except Exception as error:  # a server, the network, a full disk
                self.open.remove(tracker)
                self.progress.message(
                    f"{tracker.title} gets nothing more of this training: {reason(error)}"
                )


def require_trackers(settings: FinetuneSettings) -> None:
    """Raise the error of a tracker that is not installed or can't be used, before work begins."""
    if settings.tensorboard:
        require_tensorboard()
    if settings.mlflow:
        open_mlflow()
    if settings.wandb:
        require_wandb()


def _outcome(error: BaseException | None) -> Outcome:
    if error is None:
        return "finished"
    return "interrupted" if isinstance(error, (KeyboardInterrupt, Interrupted)) else "failed"
