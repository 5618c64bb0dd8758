"""`rtl doctor`: is this installation sound?"""

from __future__ import annotations

import click

from toolchain.cli import tables, terminal
from toolchain.cli.options import json_option, quiet_option, traceback_option
from toolchain.errors import RefusedError


@click.command()
@json_option
@quiet_option
@traceback_option
def command(as_json: bool, quiet: bool) -> None:
    """Check versions, providers and the traps that are known; exit status 10 for a problem."""
    from toolchain.doctor import examine

    checks = examine()
    if as_json:
        terminal.print_json({"version": 1, "checks": checks})
    else:
        tables.show_checks(checks)
    problems = [check for check in checks if check.state == "problem"]
    if problems:
        raise RefusedError(f"{len(problems)} problems, first: {problems[0].what}")
    terminal.print_next("rtl", "demo", quiet=quiet)
