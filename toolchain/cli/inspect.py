"""`rtl inspect`: describe a model file and what lies beside it."""

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
    """Describe MODEL, and check whether the files beside it belong to it.

    Classes, input, preprocessing, metrics, origin and digests come from its card; the parity
    report, the reference outputs and the report of a rejected file from beside it. TorchScript
    and .pt2 files need no torch for this.

    \b
    rtl inspect model.onnx
    """
    from toolchain.verification.inspection import inspect_model

    result = inspect_model(model)
    if as_json:
        terminal.print_json(result)
    else:
        tables.show_result(result)
    terminal.print_next("rtl", "verify", model, quiet=quiet)
