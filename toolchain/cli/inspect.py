"""`rtl inspect`: a model file → what it says about itself."""

from __future__ import annotations

import click

from toolchain.cli import tables, terminal
from toolchain.cli.options import json_option, quiet_option, traceback_option


@click.command()
@click.argument("model")
@json_option
@quiet_option
@traceback_option
def command(model: str, as_json: bool, quiet: bool) -> None:
    """Show the card of MODEL: classes, preprocessing, metrics, origin, and its last proof.

    \b
    rtl inspect model.onnx
    """
    from toolchain.verify.inspection import inspect_model

    result = inspect_model(model)
    if as_json:
        terminal.print_json(result)
    else:
        tables.show_inspection(result)
    terminal.print_next("rtl", "verify", model, quiet=quiet)
