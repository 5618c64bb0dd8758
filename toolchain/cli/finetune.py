"""`rtl finetune`: from settings to a run folder, `--resume`, and `--lr-find`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolchain.cli import tables, terminal
from toolchain.cli.comparisons import compared
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import (
    explain_option,
    json_option,
    quiet_option,
    settings_options,
    traceback_option,
)
from toolchain.cli.several_processes import process_words, processes_option
from toolchain.cli.started import command_start
from toolchain.cli.trained import show_trained
from toolchain.errors import Interrupted, SettingsError, stop_reason
from toolchain.extras import import_extra
from toolchain.printable import shell_words
from toolchain.progress import NotesFirst, is_rank_zero
from toolchain.runs.settings_file import GivenSettings, gather_settings
from toolchain.runs.settings_groups import grouped_settings

if TYPE_CHECKING:
    from toolchain.training.finetune_result import FinetuneResult

CHANGEABLE_ON_RESUME = ("workers", "device")
"""Settings that may change when a run is resumed: they decide where it computes, not what."""
MOST_USED = ("output", "resume", "config")
"""Options that are no settings and that a user needs first."""
OPTION_GROUPS = {
    title: (
        *(name for name in names if name != "data"),
        *(MOST_USED if number == 0 else ()),
        *(("lr_find",) if "schedule" in names else ()),
        *(("cv", "try_what") if "head_start" in names else ()),
        *(("report",) if "tensorboard" in names else ()),
        *(("processes",) if "compile" in names else ()),
    )
    for number, (title, names) in enumerate(grouped_settings().items())
}


@click.command(cls=GroupedCommand, groups=OPTION_GROUPS)
@click.argument("data", required=False)
@click.option("--config", type=click.Path(path_type=Path), help="TOML file of these settings.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Run folder to make.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Resume a run that was stopped, with the run's own settings.",
)
@click.option(
    "--data",
    "moved_data",
    metavar="DATA",
    help="With --resume: where the images are now, if they were moved.",
)
@click.option(
    "--lr-find",
    is_flag=True,
    help="Train nothing: try learning rates on a few batches, draw the curve, suggest one.",
)
@click.option(
    "--cv",
    type=click.IntRange(min=2, max=100),
    metavar="N",
    help="Keep nothing: train without each of N parts of the images, and measure on that part.",
)
@click.option(
    "--try",
    "try_what",
    type=click.Choice(["strategies"]),
    help="Keep nothing: compare strategies by cross-validation within --budget (10m).",
)
@click.option(
    "--report",
    is_flag=True,
    help="When it is trained: evaluate it, and write report.html into the run folder.",
)
@settings_options
@processes_option
@explain_option
@json_option
@quiet_option
@traceback_option
def command(
    data: str | None,
    config: Path | None,
    output: Path | None,
    resume: Path | None,
    moved_data: str | None,
    lr_find: bool,
    cv: int | None,
    try_what: str | None,
    report: bool,
    explain: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Fine-tune a ResNet on DATA and write a run folder.

    DATA is a folder with train/ and val/ and a folder for each class in them, or a folder for each
    class (split 7:1:2), or a list train.txt of lines `path label`, or a CSV such as labels.csv with
    columns for the image and its class, or for --task multi-label its classes. It is only read.

    More epochs for a finished run are a new run that starts from it: --weights RUN.

    Settings come from --config; an option on the command line replaces the value in the file.

    \b
    rtl finetune photos --arch resnet18 --strategy head -o runs/photos
    rtl finetune photos --config configs/food-resnet50-partial.toml
    rtl finetune --resume runs/photos
    rtl finetune photos --lr-find
    rtl finetune photos --budget 5m
    rtl finetune photos --cv 5
    rtl finetune photos --processes 2
    """
    given = {name: value for name, value in options.items() if value is not None}
    modes = _modes(lr_find, cv, try_what, report)
    if resume is not None:
        _refuse_on_resume(data, config, output, modes, given)
        _resume(resume, moved_data, given, explain, as_json, quiet, report)
        return
    if moved_data is not None:
        raise click.UsageError("--data is for --resume; without it: rtl finetune DATA")
    given |= {} if data is None else {"data": data}
    chosen = _settings(config, given, comparing=try_what is not None)
    if modes:
        chosen.require_one_source(modes[0])
    if lr_find:
        _find_learning_rate(chosen, config, output, given, explain, as_json, quiet)
        return
    words = _command_words(given, config, output)
    if modes:
        with _hint_when_stopped(*words, modes[0], try_what if cv is None else cv):
            found = compared(chosen, cv, explain=explain, as_json=as_json, quiet=quiet)
        terminal.print_next(*_command_words(given | found, config, output), quiet=quiet)
        return
    # Interrupted before the first epoch ended: there is no run to resume.
    with _hint_when_stopped(*words, *process_words()):
        result = _train(chosen, output, quiet)
    show_trained(result, explain, as_json, quiet, report)


def _settings(config: Path | None, given: dict[str, Any], *, comparing: bool) -> GivenSettings:
    """Return the settings of a file, replaced by the options that were given."""
    try:
        chosen = gather_settings(config, given, options=True, comparing=comparing)
    except SettingsError as error:
        error.hint = error.hint or "rtl finetune --help"
        raise
    if not chosen.settings.data:
        raise click.UsageError("Missing argument 'DATA': the folder of images.")
    return chosen


def _train(chosen: GivenSettings, output: Path | None, quiet: bool) -> FinetuneResult:
    """Train a new run."""
    from toolchain.select.choose import choosers_for
    from toolchain.training.finetune import finetune

    progress = NotesFirst(terminal.progress_reporter(quiet or not is_rank_zero()), chosen.notes)
    with chosen.sources.named():
        choosers = choosers_for(chosen, started=command_start())
        return finetune(chosen.settings, output, progress=progress, choosers=choosers)


def _modes(lr_find: bool, cv: int | None, try_what: str | None, report: bool) -> list[str]:
    """Return the option that was given of those that train no model to keep, as a list.

    Raises a usage error for two of them, and for one with --report or in several processes; makes
    sure that a report can be written.
    """
    asked = {"--lr-find": lr_find, "--cv": cv is not None, "--try": try_what is not None}
    modes = [option for option, is_given in asked.items() if is_given]
    if len(modes) > 1:
        raise click.UsageError(f"{' and '.join(modes)} can't go together; give one of them")
    if report and modes:
        raise click.UsageError(f"--report is of a trained run; {modes[0]} trains none to keep")
    if modes and process_words():
        raise click.UsageError(
            f"{modes[0]} runs in one process, without {' '.join(process_words())}"
        )
    if report:
        import_extra("jinja2")
    return modes


def _refuse_on_resume(
    data: str | None,
    config: Path | None,
    output: Path | None,
    modes: list[str],
    given: dict[str, Any],
) -> None:
    """Raise a usage error that names everything that was given and can't be changed."""
    fixed = {name: value for name, value in given.items() if name not in CHANGEABLE_ON_RESUME}
    refused = [word for word in _command_words(fixed, None, None) if str(word).startswith("--")]
    refused += ["DATA"] if data is not None else []
    refused += ["--config"] if config is not None else []
    refused += ["--output"] if output is not None else []
    refused += modes
    if refused:
        named = ", ".join(str(word) for word in refused)
        raise click.UsageError(
            f"--resume uses the run's own settings; {named} can't be changed "
            "(--workers and --device can); --data says where the images are now"
        )


def _resume(
    run: Path,
    data: str | None,
    given: dict[str, Any],
    explain: bool,
    as_json: bool,
    quiet: bool,
    report: bool,
) -> None:
    """Resume a run that was stopped."""
    from toolchain.training.finetune import resume

    progress = terminal.progress_reporter(quiet or not is_rank_zero())
    moved = ("--data", data) if data is not None else ()
    with _hint_when_stopped("rtl", "finetune", "--resume", run, *moved, *process_words()):
        result = resume(run, data=data, progress=progress, **given)
    show_trained(result, explain, as_json, quiet, report, data)


def _find_learning_rate(
    chosen: GivenSettings,
    config: Path | None,
    output: Path | None,
    given: dict[str, Any],
    explain: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Suggest a learning rate, and print the command that trains with it."""
    from toolchain.training.lr_find import find_lr

    progress = NotesFirst(terminal.progress_reporter(quiet), chosen.notes)
    with chosen.sources.named():
        result = find_lr(chosen.settings, output, progress=progress)
    if as_json:
        terminal.print_json(result)
    else:
        tables.show_result(result)
    tables.explain(result, "finetune", "loss", wanted=explain, quiet=quiet or as_json)
    if result.lr_head is not None:
        rates = {"lr_head": result.lr_head, "lr_backbone": result.lr_backbone}
        found = given | {name: rate for name, rate in rates.items() if rate is not None}
        terminal.print_next(*_command_words(found, config, None), quiet=quiet)


@contextlib.contextmanager
def _hint_when_stopped(*words: object) -> Iterator[None]:
    """Raise Interrupted, with these words of a command as its hint, where the block is stopped."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted(stop_reason(stop), hint=shell_words(*words)) from stop


def _command_words(given: dict[str, Any], config: Path | None, output: Path | None) -> list[object]:
    """Return the words of an `rtl finetune` command with these settings and options, but None."""
    words: list[object] = ["rtl", "finetune", *([given["data"]] if "data" in given else [])]
    words += ["-o", output] if output else []
    words += ["--config", config] if config else []
    for name, value in given.items():
        if value is None:
            continue
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(option if value else f"--no-{option[2:]}")
        elif name != "data":
            several = value if isinstance(value, tuple) else (value,)
            words += [word for each in several for word in (option, each)]
    return words
