"""How far the predictions are: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from toolchain.cli.terminal import console

LINE_S = 60.0
"""Between two lines where nobody watches a bar."""


class PredictionProgress:
    """Counts images on standard error, with their rate and the time that is left."""

    def __init__(self, total: int | None, *, bar: bool, lines: bool) -> None:
        """Take how many images there are, if known; neither `bar` nor `lines` is silence."""
        self.total, self.done = total, 0
        self._console = console(stderr=True)
        self._bar = _bar(self._console) if bar else None
        self._task = self._bar.add_task("predicting", total=total) if self._bar else None
        self._lines = lines
        self._started = self._said = time.monotonic()

    def __enter__(self) -> PredictionProgress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self) -> None:
        """Count an image."""
        self.done += 1
        if self._bar and self._task is not None:
            self._bar.advance(self._task)
        elif self._lines and time.monotonic() - self._said > LINE_S:
            self._said = time.monotonic()
            self._console.print(Text(self.line(self._said - self._started)))

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bar away while something else is printed."""
        if self._bar:
            self._bar.stop()
        yield
        if self._bar:
            self._bar.start()

    def line(self, seconds: float) -> str:
        """Say how far one is after so many seconds."""
        rate = self.done / seconds if seconds else 0.0
        if self.total is None:
            return f"{self.done:,} images, {rate:.1f}/s"
        left = (self.total - self.done) / rate if rate else 0.0
        return f"{self.done:,} of {self.total:,} images, {rate:.1f}/s, {duration(left)} left"


class RateColumn(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        """Return the rate, once there is one."""
        # Over all the time: results come in bursts, a batch of each worker at once.
        return Text(f"{task.completed / task.elapsed:.1f}/s" if task.elapsed else "", "cyan")


def duration(seconds: float) -> str:
    """Write a time as hours, minutes and seconds.

    >>> duration(9274), duration(75)
    ('2:34:34', '1:15')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _bar(on: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    # Standard output is not the bar's: rows go there, and they may go into a pipe.
    return Progress(*columns, console=on, transient=True, redirect_stdout=False)
