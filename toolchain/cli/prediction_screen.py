"""Predictions on standard output: rows as they come, or tables of some at a time."""

from __future__ import annotations

import sys

from toolchain.cli import tables
from toolchain.cli.prediction_progress import PredictionProgress
from toolchain.prediction.predictions import predictions_table
from toolchain.prediction.rows import Result, RowFormat
from toolchain.runtime.card import Task

PAGE = 500
"""Rows of one table: its columns are as wide as what is in it."""


class Stream:
    """Rows on standard output, each of them written at once."""

    def __init__(self, form: RowFormat) -> None:
        self.form = form

    def __enter__(self) -> Stream:
        self._write(self.form.header)
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held back."""

    def write(self, name: str, result: Result) -> None:
        """Write a row; BrokenPipeError where nobody reads any more."""
        self._write(self.form.row(name, result))

    def _write(self, text: str) -> None:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()


class Screen:
    """Tables, with the progress out of the way while one is printed."""

    def __init__(self, top: int, task: Task, progress: PredictionProgress) -> None:
        self.top, self.task, self.progress = top, task, progress
        self._page: list[tuple[str, Result]] = []

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        if self._page:
            self._show()

    def write(self, name: str, result: Result) -> None:
        """Take a row, and print a table where there are enough."""
        self._page.append((name, result))
        if len(self._page) == PAGE:
            self._show()

    def _show(self) -> None:
        with self.progress.hidden():
            tables.show_blocks([predictions_table(self._page, self.top, self.task)])
        self._page = []
