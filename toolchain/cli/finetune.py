"""`rtl finetune`: settings → training → a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolchain.cli import tables, terminal
from toolchain.cli.options import json_option, quiet_option, settings_options, traceback_option
from toolchain.errors import Interrupted
from toolchain.training.settings import SettingsError
from toolchain.training.settings_file import read_settings


@click.command()
@click.argument("data", required=False)
@click.option("--config", type=click.Path(path_type=Path), help="TOML file of these settings.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Run folder to make.")
@settings_options
@json_option
@quiet_option
@traceback_option
def command(
    data: str | None,
    config: Path | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Fine-tune a ResNet on DATA and leave a run folder.

    DATA is a folder with train/ and val/ and a folder for each class in them, or a folder for each
    class (split 7:1:2), or a list train.txt of lines `path label`. It is only read.

    Settings come from --config; an option on the command line replaces what the file says.

    \b
    rtl finetune photos --arch resnet18 --strategy head -o runs/photos
    rtl finetune photos --config configs/food-resnet50-partial.toml
    """
    given = {name: value for name, value in options.items() if value is not None}
    if data is not None:
        given["data"] = data
    try:
        settings = read_settings(config, given)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    if not settings.data:
        raise click.UsageError("Missing argument 'DATA': the folder of images.")

    from toolchain.training.finetune import finetune

    try:
        result = finetune(settings, output, narrator=terminal.narrator(quiet))
    except KeyboardInterrupt as stop:
        # Stopped before the first epoch ended: there is nothing to go on from.
        again: list[object] = ["finetune", settings.data]
        again += ["-o", output] if output else []
        again += ["--config", str(config)] if config else []
        for name, value in given.items():
            again += [] if name == "data" else [f"--{name.replace('_', '-')}", str(value)]
        raise Interrupted("interrupted", hint=terminal.rtl_command(*again)) from stop
    if as_json:
        terminal.print_json(
            {
                "version": 1,
                "run": str(result.run.path),
                "best_epoch": result.best_epoch,
                "epochs": result.epochs,
                "val_accuracy": result.val_accuracy,
                "seconds": round(result.seconds, 3),
            }
        )
    else:
        tables.show_finetuned(result)
    terminal.print_next("rtl", "evaluate", result.run.path, quiet=quiet)
