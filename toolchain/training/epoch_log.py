"""What is written and reported after each epoch: metrics.jsonl, trackers, and a message."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from toolchain.files import encode_json, write_text
from toolchain.metrics.outputs import Outputs
from toolchain.progress import ProgressReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.distributed import Processes
from toolchain.training.loop import EpochMetrics
from toolchain.training.trackers.trackers import Trackers


class EpochLog:
    """Reports the finished epochs of a run; only rank zero writes files."""

    def __init__(
        self,
        run: RunFolder,
        settings: FinetuneSettings,
        processes: Processes,
        progress: ProgressReporter,
    ) -> None:
        self.run, self.progress = run, progress
        self.writes_files = processes.is_rank_zero
        self.explained = False
        self.summary: msgspec.Struct | None = None
        """Of the model, once it is written."""
        self.trackers = Trackers(run, settings, progress) if self.writes_files else None

    def write(self, label: str, row: dict[str, Any]) -> None:
        """Append an epoch's line to metrics.jsonl and report it."""
        if self.writes_files:
            # The model is written with all lines; a full disk does not stop training for one.
            with (
                contextlib.suppress(OSError),
                self.run.metrics.open("a", encoding="utf-8") as file,
            ):
                file.write(encode_json(row).decode() + "\n")
        if self.trackers is not None:
            self.trackers.write(row)
        if not self.explained:
            self.explained = True
            self.progress.message("each epoch: training → validation; F1 and AUC of validation")
        auc = "–" if row["val_auc"] is None else f"{row['val_auc']:.3f}"
        self.progress.message(
            f"{label}  loss {row['train_loss']:.3f} → {row['val_loss']:.3f}  "
            f"acc {row['train_accuracy']:.1%} → {row['val_accuracy']:.1%}  "
            f"F1 {row['val_macro_f1']:.3f}  AUC {auc}  {row['seconds']:.1f} s"
        )

    @contextlib.contextmanager
    def reported_end(self) -> Iterator[None]:
        """Report to the trackers how the training ends, with the summary of its model."""
        ended_by: BaseException | None = None
        try:
            yield
        except BaseException as error:
            ended_by = error
            raise
        finally:
            if self.trackers is not None:
                self.trackers.close(ended_by, msgspec.to_builtins(self.summary) or {})

    def rewrite(self, rows: Sequence[dict[str, Any]]) -> None:
        """Replace metrics.jsonl by the lines of these epochs; later ones are trained again."""
        if self.writes_files:
            write_metrics(self.run, rows)


def metrics_row(
    epoch: int,
    training: EpochMetrics,
    validation: Outputs,
    learning_rates: list[float],
    seconds: float,
    trained_layers: int,
) -> dict[str, Any]:
    """Return an epoch's line of metrics.jsonl; the first epoch's also holds its first losses."""
    auc = validation.auc
    row: dict[str, Any] = {
        "epoch": epoch,
        "train_loss": round(training.loss, 6),
        "train_accuracy": round(training.accuracy, 6),
        "val_loss": round(validation.loss, 6),
        "val_accuracy": round(validation.accuracy, 6),
        "val_macro_f1": round(validation.macro_f1, 6),
        "val_auc": None if auc is None else round(auc, 6),
        "learning_rates": learning_rates,
        "trained_layers": trained_layers,
        "seconds": round(seconds, 3),
    }
    if epoch == 1:
        row["train_loss_start"] = training.step_losses
    return row


def write_metrics(run: RunFolder, rows: Sequence[dict[str, Any]]) -> None:
    """Write metrics.jsonl, whole or not at all."""
    lines = [encode_json(row).decode() + "\n" for row in rows]
    write_text(run.metrics, "".join(lines))
