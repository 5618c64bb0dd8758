"""`rtl data check`: a folder of images → what is wrong with it."""

from __future__ import annotations

import click

from toolchain.cli import tables, terminal
from toolchain.cli.options import json_option, quiet_option, traceback_option


@click.group()
def command() -> None:
    """Look at a data set before training."""


@command.command()
@click.argument("data")
@json_option
@quiet_option
@traceback_option
def check(data: str, as_json: bool, quiet: bool) -> None:
    """Read every image of DATA and list what would hurt training; nothing is written.

    \b
    rtl data check photos
    """
    from toolchain.data.audit import audit_dataset
    from toolchain.data.layouts import read_dataset

    _, audit = audit_dataset(read_dataset(data), terminal.narrator(quiet))
    if as_json:
        terminal.print_json(audit)
    else:
        tables.show_audit(audit)
    terminal.print_next("rtl", "finetune", data, quiet=quiet)
