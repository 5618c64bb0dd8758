"""`rtl data check`: a folder of images → what is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from toolchain.cli import tables, terminal
from toolchain.cli.choices import Choice
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import (
    device_option,
    explain_option,
    json_option,
    quiet_option,
    splitting_options,
    splitting_words,
    traceback_option,
)
from toolchain.data.splits import Splitting
from toolchain.errors import DataError, RefusedError
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


OPTION_GROUPS = {
    "How the data is read": ("task", "split_ratio", "split_seed", "group_column", "exclude"),
    "Labels that a network's features contradict": ("weights", "run_folder", "device"),
    "Result": ("fix_list",),
}


@click.group(cls=DataGroup)
def command() -> None:
    """Look at a data set before training."""


@command.command(cls=GroupedCommand, groups=OPTION_GROUPS)
@click.argument("data")
@click.option(
    "--task",
    type=Choice(get_args(Task)),
    default="single-label",
    show_default=True,
    help="What an image has: one class, or any number of them, read from a CSV.",
)
@splitting_options
@click.option(
    "--exclude",
    metavar="FILE",
    default="",
    help="A list of images to leave out, as rtl finetune takes it.",
)
@click.option(
    "--fix-list",
    metavar="FILE",
    default="",
    help="Write a CSV of what to do: file, what, suggestion. rtl finetune --exclude takes it.",
)
@click.option(
    "--weights",
    default="",
    help="A network whose features judge the labels: a weights file, a run folder, or imagenet. "
    "By default ImageNet's ResNet-18 where it is on this machine already.",
)
@click.option(
    "--run", "run_folder", metavar="RUN", default="", help="The trained network of a run instead."
)
@device_option
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
    exclude: str,
    fix_list: str,
    weights: str,
    run_folder: str,
    device: str,
    explain: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Read every image of DATA and list what would spoil training; DATA itself is only read.

    Damaged files, the same image in two splits or under two classes, images that look the same,
    and what is dark, blurred, tiny or called by a wrong ending. With a network at hand, the labels
    that its features contradict. What is left out is counted, with the reason. Exit status 10
    where files can't be read, or the same image stands in two splits or classes.

    \b
    rtl data check photos
    rtl data check photos/labels.csv --task multi-label
    rtl data check photos --weights resnet18.pth --fix-list fix.csv
    """
    from toolchain.checking.check import CheckOptions, check_data

    splitting = Splitting(split_ratio, split_seed, group_column)
    options = CheckOptions(
        task, splitting, exclude, fix_list, weights=weights, run=run_folder, device=device
    )
    try:
        audit = check_data(data, options, progress=terminal.progress_reporter(quiet))
    except DataError as error:
        # The list of files comes first, the verdict after.
        if error.result is not None:
            _show(error.result, explain, as_json, quiet)
            if not isinstance(error.__cause__, OSError):  # else the fix list can't be written
                error.hint = "repair, move or remove the files that the table calls unreadable"
        raise
    _show(audit, explain, as_json, quiet)
    of_task = ("--task", task) if task == "multi-label" else ()
    words = (*of_task, *splitting_words(splitting))
    if audit.problems:
        list_them = shell_words("rtl", "data", "check", data, *words, "--fix-list", "fix.csv")
        leave_out = "rtl finetune --exclude takes it"
        raise RefusedError(
            ", ".join(audit.problems),
            hint=f"{fix_list}: {leave_out}" if fix_list else f"{list_them}; {leave_out}",
        )
    excluding = ("--exclude", exclude) if exclude else ()
    terminal.print_next("rtl", "finetune", data, *words, *excluding, quiet=quiet)


def _show(audit: Audit, explain: bool, as_json: bool, quiet: bool) -> None:
    if as_json:
        terminal.print_json(audit)
    else:
        tables.show_result(audit)
    tables.explain(audit, "data check", wanted=explain, quiet=quiet or as_json)
