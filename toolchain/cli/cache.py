"""`rtl cache`: what is kept between runs, and its removal."""

from __future__ import annotations

import click
from rich.text import Text

from toolchain.cli import tables, terminal
from toolchain.cli.options import json_option, traceback_option


@click.group(invoke_without_command=True)
@json_option
@traceback_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Show the features of frozen layers that training keeps for later runs.

    They lie in the user's cache folder, or in RTL_CACHE_DIR. `rtl finetune --cache-gb` bounds them.

    \b
    rtl cache
    rtl cache clear
    """
    if context.invoked_subcommand is not None:
        return
    from toolchain.training.feature_store import entries, features_folder

    found = entries()
    if as_json:
        rows = [
            {
                "data": entry.about.data,
                "arch": entry.about.arch,
                "boundary": entry.about.boundary,
                "view": entry.about.view,
                "rows": entry.rows,
                "bytes": entry.bytes,
            }
            for entry in found
        ]
        terminal.print_json({"version": 1, "folder": str(features_folder()), "entries": rows})
    else:
        tables.show_cache(features_folder(), found)


@command.command("clear")
@traceback_option
def clear() -> None:
    """Remove all kept features; the next run computes its own again."""
    from toolchain.training import feature_store

    freed = feature_store.clear()
    tables.show(Text(f"removed {freed / 1e6:.1f} MB from {feature_store.features_folder()}"))
