"""`rtl data check`: a folder of images → what is wrong with it."""

from __future__ import annotations

from typing import get_args

import click

from toolchain.cli import tables, terminal
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import explain_option, json_option, quiet_option, traceback_option
from toolchain.runtime.card import Task


@click.group()
def command() -> None:
    """Look at a data set before training."""


@command.command(cls=GroupedCommand)
@click.argument("data")
@click.option(
    "--task",
    type=click.Choice(get_args(Task)),
    default="single-label",
    show_default=True,
    help="What an image has: one class, or any number of them, read from a CSV.",
)
@explain_option
@json_option
@quiet_option
@traceback_option
def check(data: str, task: Task, explain: bool, as_json: bool, quiet: bool) -> None:
    """Read every image of DATA and list its problems for training; nothing is written.

    \b
    rtl data check photos
    rtl data check photos/labels.csv --task multi-label
    """
    from toolchain.data.audit import audit_dataset
    from toolchain.data.layouts import read_dataset

    _, audit = audit_dataset(read_dataset(data, task), terminal.progress_reporter(quiet))
    if as_json:
        terminal.print_json(audit)
    else:
        tables.show_result(audit)
    tables.explain(audit, "data check", wanted=explain, quiet=quiet or as_json)
    of_task = ("--task", task) if task == "multi-label" else ()
    terminal.print_next("rtl", "finetune", data, *of_task, quiet=quiet)
