"""TensorBoard logs of a run, in its folder."""

from __future__ import annotations

from typing import Any

from toolchain.errors import MissingExtraError
from toolchain.extras import missing_extra
from toolchain.runs.runfolder import RunFolder
from toolchain.training.trackers.tracker import Outcome, scalars


class TensorBoard:
    """Writes the metrics of each epoch as TensorBoard scalars."""

    title = "TensorBoard"

    def __init__(self, run: RunFolder) -> None:
        self.writer = require_tensorboard()(str(run.tensorboard))

    def write(self, row: dict[str, Any]) -> None:
        """Write the scalars of one line of metrics.jsonl."""
        for tag, value in scalars(row):
            self.writer.add_scalar(tag, value, row["epoch"])
        self.writer.flush()

    def close(self, outcome: Outcome, summary: dict[str, Any]) -> None:
        """Close the event file."""
        self.writer.close()


def require_tensorboard() -> Any:
    """Return the class SummaryWriter; raise MissingExtraError without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise missing_extra(error) or MissingExtraError("tensorboard", "tensorboard") from error
    return SummaryWriter
