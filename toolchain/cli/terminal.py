"""The two streams: results go to standard output, everything else to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from toolchain.cli.streams import write_line
from toolchain.files import json_text
from toolchain.glossary import Term
from toolchain.printable import ascii_json, printable_json, shell_words
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
    """Print a result as indented JSON; letters that the stream's encoding lacks are escaped."""
    text = printable_json(json_text(result))
    if (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":
        text = ascii_json(text)
    write_line(text, sys.stdout)


def print_text(text: str) -> None:
    """Print a text that has been made printable, however wide the terminal is."""
    write_line(text, sys.stdout)


def print_terms(terms: Iterable[Term]) -> None:
    """Print the meaning of figures to standard error; standard output may be JSON."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for term in terms:
        table.add_row(term.name, term.meaning)
    if table.row_count:
        console(stderr=True).print(Text("\nwhat the figures mean", "bold"), table, sep="\n")


def print_next(*words: object, quiet: bool = False) -> None:
    """Print the command that a user may run next, ready to paste, to standard error."""
    if not quiet:
        command = shell_words(*words)
        console(stderr=True).print(Text("next: ", "dim") + Text(command, "bold"), soft_wrap=True)


def rtl_command(*words: object) -> str:
    """Return a command line of rtl, quoted for a shell."""
    return shell_words("rtl", *words)
