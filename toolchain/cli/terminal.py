"""The two streams: results go to standard output, all else to standard error."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from toolchain.files import json_text
from toolchain.progress import ProgressReporter, SilentReporter

Item = TypeVar("Item")

PIPE_WIDTH = 160
"""In a pipe nothing is wrapped for a screen that isn't there."""


def console(*, stderr: bool = False) -> Console:
    """Return a console on standard output or error, plain where it is no terminal."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    return made


class TerminalReporter:
    """Shows lines and progress bars on standard error; in a pipe, lines only."""

    def __init__(self) -> None:
        self.console = console(stderr=True)

    def message(self, text: str) -> None:
        """Print a line."""
        self.console.print(Text(text), soft_wrap=not self.console.is_terminal)

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Draw a bar that goes away when it is full."""
        if not self.console.is_terminal:
            yield from items
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield from progress.track(items, total=total, description=label)


def progress_reporter(quiet: bool) -> ProgressReporter:
    """Return the narrator of a command."""
    return SilentReporter() if quiet else TerminalReporter()


def print_json(result: Any) -> None:
    """Print a result as indented JSON."""
    click.echo(json_text(result))


def print_next(*words: object, quiet: bool = False) -> None:
    """Print the next command, ready to paste."""
    if not quiet:
        command = shlex.join(str(word) for word in words)
        console(stderr=True).print(Text("next: ", "dim") + Text(command, "bold"), soft_wrap=True)


def rtl_command(*words: object) -> str:
    """Return a command as it would be typed."""
    return shlex.join(["rtl", *(str(word) for word in words)])
