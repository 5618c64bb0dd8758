"""`rtl cache`: what is kept between runs and between predictors, and its removal."""

from __future__ import annotations

import click
from rich.text import Text

from toolchain.cli import tables, terminal
from toolchain.cli.options import json_option, traceback_option
from toolchain.display import megabytes
from toolchain.errors import DataError
from toolchain.printable import printable


@click.group(invoke_without_command=True, subcommand_metavar="[COMMAND] [ARGS]...")
@json_option
@traceback_option
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """Show what rtl keeps: features of frozen layers for later runs, models as onnxruntime has
    optimised them for later predictors, and what a stopped search had finished.

    They lie in the user's cache folder, or in RTL_CACHE_DIR. `rtl finetune --cache-gb` bounds the
    features; models take 2 GB at most, searches 50 MB.

    \b
    rtl cache
    rtl cache clear
    """
    if context.invoked_subcommand is not None:
        return
    from toolchain.cache import list_caches

    caches = list_caches()
    if as_json:
        terminal.print_json(caches)
    else:
        tables.show_cache(caches.folder, caches.entries)
        tables.show_engines(caches.engines.folder, caches.engines.entries)
        tables.show_searches(caches.searches)


@command.command("clear")
@traceback_option
def clear() -> None:
    """Remove all that is kept; the next run and the next predictor make their own again."""
    from toolchain.cache import clear_caches

    left = []
    for cleared in clear_caches():
        tables.show(Text(f"removed {megabytes(cleared.bytes)} from {printable(cleared.folder)}"))
        if cleared.reason is not None:
            left.append(f"{cleared.folder} still has {megabytes(cleared.left)}: {cleared.reason}")
    if left:
        raise DataError(f"not everything could be removed; {'; '.join(left)}")
