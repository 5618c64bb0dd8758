"""`rtl data check`: a folder of images → what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from toolchain.cli import tables, terminal
from toolchain.cli.choices import Choice
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import (
    explain_option,
    json_option,
    quiet_option,
    splitting_options,
    splitting_words,
    traceback_option,
)
from toolchain.data.splits import Splitting
from toolchain.errors import DataError
from toolchain.printable import shell_words
from toolchain.runtime.card import Task

if TYPE_CHECKING:
    from toolchain.data.audit_result import Audit


class DataGroup(click.Group):
    """The commands of `rtl data`; a folder in the place of one gets the command that takes it."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that was asked for; a UsageError names the one that is meant."""
        if args[0] not in self.commands and not args[0].startswith("-"):
            meant = "rtl data check"
            if Path(args[0]).exists():
                meant += f" {shell_words(args[0])}"
            raise click.UsageError(f"no command '{args[0]}'; did you mean {meant}?", context)
        return super().resolve_command(context, args)


@click.group(cls=DataGroup)
def command() -> None:
    """Look at a data set before training."""


@command.command(cls=GroupedCommand)
@click.argument("data")
@click.option(
    "--task",
    type=Choice(get_args(Task)),
    default="single-label",
    show_default=True,
    help="What an image has: one class, or any number of them, read from a CSV.",
)
@splitting_options
@explain_option
@json_option
@quiet_option
@traceback_option
def check(
    data: str,
    task: Task,
    split_ratio: str,
    split_seed: int,
    group_column: str,
    explain: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Read every image of DATA and list its problems for training; nothing is written.

    What is left out is counted, with the reason: files that are no images by their ending, hidden
    ones, links to folders, images that stand in no class folder or in no list.

    \b
    rtl data check photos
    rtl data check photos/labels.csv --task multi-label
    """
    from toolchain.data.audit import audit_dataset
    from toolchain.data.layouts import read_dataset

    splitting = Splitting(split_ratio, split_seed, group_column)
    try:
        _, audit = audit_dataset(
            read_dataset(data, task, splitting), terminal.progress_reporter(quiet)
        )
    except DataError as error:
        # The list of files comes first, the verdict after.
        if error.result is not None:
            _show(error.result, explain, as_json, quiet)
            error.hint = "repair, move or remove the files that the table calls unreadable"
        raise
    _show(audit, explain, as_json, quiet)
    of_task = ("--task", task) if task == "multi-label" else ()
    words = (*of_task, *splitting_words(splitting))
    terminal.print_next("rtl", "finetune", data, *words, quiet=quiet)


def _show(audit: Audit, explain: bool, as_json: bool, quiet: bool) -> None:
    if as_json:
        terminal.print_json(audit)
    else:
        tables.show_result(audit)
    tables.explain(audit, "data check", wanted=explain, quiet=quiet or as_json)
