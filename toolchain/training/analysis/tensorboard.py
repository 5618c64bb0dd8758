"""TensorBoard logs of a run."""

from __future__ import annotations

from typing import Any

from toolchain.errors import MissingExtraError
from toolchain.extras import missing_extra
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings


class EventLog:
    """Writes the metrics of each epoch as TensorBoard scalars if the settings ask for it."""

    def __init__(self, run: RunFolder, settings: FinetuneSettings) -> None:
        self.writer: Any = None
        if settings.tensorboard:
            self.writer = require_tensorboard()(str(run.tensorboard))

    def write(self, row: dict[str, Any]) -> None:
        """Write the scalars of one line of metrics.jsonl."""
        if self.writer is None:
            return
        for name, value in row.items():
            if name.startswith(("train_", "val_")) and isinstance(value, float):
                split, _, metric = name.partition("_")
                self.writer.add_scalar(f"{metric}/{split}", value, row["epoch"])
        for index, rate in enumerate(row["learning_rates"]):
            self.writer.add_scalar(f"learning_rate/{index}", rate, row["epoch"])
        self.writer.flush()


def require_tensorboard() -> Any:
    """Return the class SummaryWriter; raise MissingExtraError without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise missing_extra(error) or MissingExtraError("tensorboard", "tensorboard") from error
    return SummaryWriter
