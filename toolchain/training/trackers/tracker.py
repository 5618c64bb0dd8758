"""What every tracker does, and the values that it gets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Protocol

import msgspec

from toolchain.errors import TrainingError
from toolchain.runs.settings import FinetuneSettings

Outcome = Literal["finished", "interrupted", "failed"]
"""How a training ended."""


MAX_REASON = 200
"""Characters of an error of a tracker that are shown."""


class Tracker(Protocol):
    """Receives the metrics of each epoch, and at the end what came of the training."""

    title: str
    """The tracker's name, as it writes it."""

    def write(self, row: dict[str, Any]) -> None:
        """Receive one line of metrics.jsonl."""

    def close(self, outcome: Outcome, summary: dict[str, Any]) -> None:
        """Receive the end of the training; `summary` is empty where no model was written."""


def scalars(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the metrics and learning rates of one line of metrics.jsonl, as metric/split."""
    for name, value in row.items():
        if name.startswith(("train_", "val_")) and isinstance(value, float):
            split, _, metric = name.partition("_")
            yield f"{metric}/{split}", value
    for index, rate in enumerate(row["learning_rates"]):
        yield f"learning_rate/{index}", rate


def flat_settings(settings: FinetuneSettings) -> dict[str, str | int | float | bool]:
    """Return the settings of a run as one value each, as trackers keep them."""
    values = msgspec.to_builtins(settings)
    plain = (str, int, float, bool)
    return {name: v if isinstance(v, plain) else str(v) for name, v in values.items()}


def reason(error: Exception) -> str:
    """Return what an error of a tracker says, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}…"


def not_usable(tracker: str, error: Exception, hint: str) -> TrainingError:
    """Return the error for a tracker that can't be begun with."""
    return TrainingError(f"{tracker} can't be used: {reason(error)}", hint=hint)


def numbers(summary: dict[str, Any]) -> dict[str, float]:
    """Return the entries of a run's summary that are numbers."""
    return {
        name: value
        for name, value in summary.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
