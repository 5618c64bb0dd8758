"""`rtl cache`: what is kept between runs and between predictors, and its removal."""

from __future__ import annotations

import click
from rich.text import Text

from toolchain.cli import tables, terminal
from toolchain.cli.options import json_option, traceback_option
from toolchain.runtime.modelcache import store as models


@click.group(invoke_without_command=True)
@json_option
@traceback_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Show what rtl keeps: features of frozen layers for later runs, and models as onnxruntime has
    optimised them for later predictors.

    They lie in the user's cache folder, or in RTL_CACHE_DIR. `rtl finetune --cache-gb` bounds the
    features; models take 2 GB at most.

    \b
    rtl cache
    rtl cache clear
    """
    if context.invoked_subcommand is not None:
        return
    from toolchain.training.features.store import entries, features_folder

    found, engines = entries(), models.entries()
    if as_json:
        rows = [
            {
                "data": entry.key.data,
                "arch": entry.key.arch,
                "boundary": entry.key.boundary,
                "view": entry.key.view,
                "rows": entry.rows,
                "bytes": entry.bytes,
            }
            for entry in found
        ]
        kept = {
            "folder": str(models.engines_folder()),
            "entries": [{"model": engine.model, "bytes": engine.bytes} for engine in engines],
        }
        folder = str(features_folder())
        terminal.print_json({"version": 1, "folder": folder, "entries": rows, "engines": kept})
    else:
        tables.show_cache(features_folder(), found)
        tables.show_engines(models.engines_folder(), engines)


@command.command("clear")
@traceback_option
def clear() -> None:
    """Remove all that is kept; the next run and the next predictor make their own again."""
    from toolchain.training.features import store as features

    for folder, freed in (
        (features.features_folder(), features.clear()),
        (models.engines_folder(), models.clear()),
    ):
        tables.show(Text(f"removed {freed / 1e6:.1f} MB from {folder}"))
