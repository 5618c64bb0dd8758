"""`rtl doctor`: check the installation and print what was found."""

from __future__ import annotations

import click

from toolchain.cli import tables, terminal
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import json_option, quiet_option, traceback_option
from toolchain.errors import RefusedError


@click.command(cls=GroupedCommand)
@json_option
@quiet_option
@traceback_option
def command(as_json: bool, quiet: bool) -> None:
    """Check versions, providers and known problems; exit status 10 for a problem."""
    from toolchain.doctor import examine

    report = examine()
    if as_json:
        terminal.print_json(report)
    else:
        tables.show_checks(report.checks)
    if report.problems:
        problems = report.problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems, first"
        raise RefusedError(f"{count}: {problems[0].what}")
    terminal.print_next("rtl", "demo", quiet=quiet)
