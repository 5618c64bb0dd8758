"""The two streams: results go to standard output, all else to standard error."""

from __future__ import annotations

import shlex
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from toolchain.files import json_text
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.progress_bar import TerminalReporter

PIPE_WIDTH = 160
"""In a pipe nothing is wrapped for a screen that isn't there."""


def console(*, stderr: bool = False) -> Console:
    """Return a console on standard output or error, plain where it is no terminal."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    return made


def progress_reporter(quiet: bool) -> ProgressReporter:
    """Return the reporter of a command."""
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
