"""`rtl inspect`: describe a model file and what lies beside it."""

from __future__ import annotations

import click

from toolchain.cli import tables, terminal
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import explain_option, json_option, quiet_option, traceback_option


@click.command(cls=GroupedCommand)
@click.argument("model")
@explain_option
@json_option
@quiet_option
@traceback_option
def command(model: str, explain: bool, as_json: bool, quiet: bool) -> None:
    """Describe MODEL, and check whether the files beside it belong to it.

    Classes, input, preprocessing, metrics, origin and digests come from its card; the parity
    report, the reference outputs and the report of a rejected file from beside it. TorchScript
    and .pt2 files need no torch for this. For a run folder in the place of MODEL, the trained
    model in it is described.

    \b
    rtl inspect model.onnx
    """
    from toolchain.verification.inspection import inspect_model

    result = inspect_model(model)
    if as_json:
        terminal.print_json(result)
    else:
        tables.show_result(result)
    tables.explain(result, "inspect", wanted=explain, quiet=quiet or as_json)
    exported = result.card.format is not None
    terminal.print_next("rtl", "verify" if exported else "export", model, quiet=quiet)
