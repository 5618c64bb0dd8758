"""Progress of `rtl predict`: a bar on a terminal, elsewhere a line a minute."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from toolchain.cli.terminal import console

LINE_S = 60.0
"""Seconds between two lines where there is no bar."""


class TerminalProgress:
    """Counts images on standard error, with their rate and the time that is left."""

    def __init__(self, *, bar: bool, lines: bool) -> None:
        """Show a bar, or lines, or with neither nothing."""
        self.total: int | None = None
        self.done = 0
        self._console = console(stderr=True)
        self._bar = _bar(self._console) if bar else None
        self._task: TaskID | None = None
        self._lines = lines
        self._started_s = self._last_line_s = time.monotonic()

    @contextlib.contextmanager
    def counting(self, count_images: Callable[[], int | None]) -> Iterator[None]:
        """Show the bar during a `with` block; only a bar needs the number of images."""
        if self._bar:
            self.total = count_images()
            self._task = self._bar.add_task("predicting", total=self.total)
        self._started_s = self._last_line_s = time.monotonic()
        with self._bar or contextlib.nullcontext():
            yield

    def advance(self) -> None:
        """Count an image."""
        self.done += 1
        if self._bar and self._task is not None:
            self._bar.advance(self._task)
        elif self._lines and time.monotonic() - self._last_line_s > LINE_S:
            self._last_line_s = time.monotonic()
            self._console.print(Text(self.line(self._last_line_s - self._started_s)))

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bar away, if it is shown, while something else is printed."""
        if self._bar is None or not self._bar.live.is_started:
            yield
            return
        self._bar.stop()
        yield
        self._bar.start()

    def line(self, seconds: float) -> str:
        """Return the number of images done after these seconds, their rate and the time left."""
        rate = self.done / seconds if seconds else 0.0
        if self.total is None:
            noun = "image" if self.done == 1 else "images"
            return f"{self.done:,} {noun}, {rate:.1f}/s"
        left = (self.total - self.done) / rate if rate else 0.0
        return f"{self.done:,} of {self.total:,} images, {rate:.1f}/s, {duration(left)} left"


class RateColumn(ProgressColumn):
    """Images per second."""

    def render(self, task: Task) -> Text:
        """Return the rate, once there is one."""
        # Averaged since the start: results come in bursts, a batch of each worker at once.
        return Text(f"{task.completed / task.elapsed:.1f}/s" if task.elapsed else "", "cyan")


def duration(seconds: float) -> str:
    """Return a time as hours, minutes and seconds.

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
    # Rows go to standard output, which may be a pipe: the bar must not take it over.
    return Progress(*columns, console=on, transient=True, redirect_stdout=False)
