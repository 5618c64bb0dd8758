"""The lines of metrics.jsonl: the epochs of a run, and its summary."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec

from toolchain.runs.damage import reading
from toolchain.runs.runfolder import RunFolder

Row = dict[str, Any]
"""A line of metrics.jsonl, or its summary."""
Number = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


class _Epoch(msgspec.Struct):
    """The types of the keys that the report reads of an epoch; all but the number may lack."""

    epoch: Number
    train_loss: float | None = None
    val_loss: float | None = None
    train_accuracy: float | None = None
    val_accuracy: float | None = None
    learning_rates: list[float] = []
    trained_layers: Number | None = None
    seconds: float | None = None


class _Finding(msgspec.Struct):
    name: str
    evidence: str
    remedy: str


class _Summary(msgspec.Struct):
    """The types of the keys that the report reads of the summary; an older rtl has fewer."""

    best_epoch: Number | None = None
    epochs_as_good: Number | None = None
    val_images: Number | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    val_macro_f1: float | None = None
    val_auc: float | None = None
    temperature: float | None = None
    temperature_reason: str | None = None
    calibration_error: tuple[float, float] | None = None
    findings: list[_Finding] = []


def read_epochs(folder: RunFolder) -> tuple[list[Row], Row | None]:
    """Return (the lines of the epochs, the summary); nothing where there is no metrics.jsonl.

    Raises DataError where a line is no epoch. Its numbers may be NaN and Infinity, which the
    standard library reads.
    """
    if not folder.metrics.is_file():
        return [], None
    with reading(folder.metrics):
        lines = folder.metrics.read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines if line.strip()]
        if not all(isinstance(row, dict) for row in rows):
            raise ValueError("a line is no object")
        epochs = [row for row in rows if "summary" not in row]
        msgspec.convert(epochs, list[_Epoch])
        summary = next((row["summary"] for row in rows if "summary" in row), None)
        if summary is not None:
            msgspec.convert(summary, _Summary)
    return epochs, summary
