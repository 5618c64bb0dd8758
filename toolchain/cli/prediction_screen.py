"""Predictions as tables on the terminal, some rows at a time."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from toolchain.cli import tables
from toolchain.cli.prediction_progress import TerminalProgress
from toolchain.prediction.predictions import predictions_table
from toolchain.prediction.rows import PredictionOrError
from toolchain.prediction.sinks import Sink
from toolchain.runtime.predictor import Predictor

TABLE_ROWS = 500
"""Rows of one table. Columns are as wide as their widest cell, so rows are collected first."""


class TableScreen(Sink):
    """Tables on standard output; the progress bar is hidden while one is printed."""

    def __init__(self, progress: TerminalProgress, *, top: int = 1) -> None:
        self.progress, self.top = progress, top
        self._rows: list[tuple[str, PredictionOrError]] = []

    def open(self, predictor: Predictor) -> Self:
        """Remember the task, which decides the columns."""
        self._task = predictor.card.task
        return self

    def write(self, name: str, result: PredictionOrError) -> None:
        """Hold a row, and print a table when it is full."""
        self._rows.append((name, result))
        if len(self._rows) == TABLE_ROWS:
            self._print_table()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Print the rest, after an error too."""
        if self._rows:
            self._print_table()

    def _print_table(self) -> None:
        with self.progress.hidden():
            tables.show_blocks([predictions_table(self._rows, self.top, self._task)])
        self._rows = []
