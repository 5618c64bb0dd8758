"""`rtl adapt`: a model file → one for another camera, kept only where it would help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolchain.cli import tables, terminal
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import explain_option, json_option, quiet_option, traceback_option

if TYPE_CHECKING:
    from toolchain.adaptation.result import Adapted


@click.command(cls=GroupedCommand)
@click.argument("model")
@click.option(
    "--to",
    required=True,
    metavar="FOLDER",
    help="Photographs from where the model will work. They need no labels; a labels.csv in the "
    "folder with some is used to measure.",
)
@click.option(
    "--source",
    metavar="FOLDER",
    help="Training photographs, a folder for each class, where MODEL.features.npz is not beside "
    "MODEL.",
)
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Largest number of photographs that are used.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="The new file; by default MODEL's name with .adapted, beside it.",
)
@explain_option
@json_option
@quiet_option
@traceback_option
def command(
    model: str,
    to: str,
    source: str | None,
    images: int,
    output: Path | None,
    explain: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Fit MODEL, an ONNX file in fp32, to the photographs of another camera; needs no torch.

    How the new camera shifts the features of its photographs is found without labels, and taken
    back in the bias of the last layer: the new file is as fast and as large. It is made only where
    figures say that it helps; else the exit status is 10 and nothing is written. MODEL itself is
    never changed. Of a run folder the file in its export/ is taken.

    \b
    rtl adapt runs/photos/export/model.onnx --to photos-of-the-new-camera
    """
    from toolchain.adaptation.adapt import adapt
    from toolchain.errors import RefusedError

    try:
        result = adapt(
            model,
            to,
            source=source,
            images=images,
            output=output,
            progress=terminal.progress_reporter(quiet),
        )
    except RefusedError as error:
        # The figures come first, the verdict after.
        _show(error.result, explain, as_json, quiet)
        raise
    _show(result, explain, as_json, quiet)
    terminal.print_next("rtl", "verify", result.output, quiet=quiet)


def _show(result: Adapted | None, explain: bool, as_json: bool, quiet: bool) -> None:
    if result is None:
        return
    if as_json:
        terminal.print_json(result)
    else:
        tables.show_result(result)
    tables.explain(result, "adapt", wanted=explain, quiet=quiet or as_json)
