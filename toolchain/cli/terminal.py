"""The two streams: results go to standard output, everything else to standard error."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.text import Text

from toolchain.display import printable_json, shell_word
from toolchain.files import json_text
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.progress_bar import TerminalReporter
from toolchain.screen import console as printable_console

PIPE_WIDTH = 160
"""Columns of a table that goes to a pipe or a file, where no screen sets the width."""


def console(*, stderr: bool = False) -> Console:
    """Return a console on standard output or error; plain text where that is no terminal."""
    made = printable_console(stderr=stderr)
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    return made


def progress_reporter(quiet: bool) -> ProgressReporter:
    """Return what a command reports its progress to: the terminal, or nothing with --quiet."""
    return SilentReporter() if quiet else TerminalReporter()


def print_json(result: Any) -> None:
    """Print a result as indented JSON."""
    click.echo(printable_json(json_text(result)))


def print_next(*words: object, quiet: bool = False) -> None:
    """Print the command that a user may run next, ready to paste, to standard error."""
    if not quiet:
        command = " ".join(shell_word(str(word)) for word in words)
        console(stderr=True).print(Text("next: ", "dim") + Text(command, "bold"), soft_wrap=True)


def rtl_command(*words: object) -> str:
    """Return a command line of rtl, quoted for a shell."""
    return " ".join(["rtl", *(shell_word(str(word)) for word in words)])
