"""`rtl export`: a run folder → model files that have been proved."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolchain.cli import tables, terminal
from toolchain.cli.options import (
    data_option,
    images_option,
    json_option,
    quiet_option,
    traceback_option,
)

if TYPE_CHECKING:
    from toolchain.export.export import Format


@click.command()
@click.argument("run")
@click.option(
    "--format",
    "formats",
    type=click.Choice(["onnx", "torchscript"]),
    multiple=True,
    default=("onnx",),
    show_default=True,
    help="Format to write; may be given several times.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="File or folder; by default export/ in RUN.",
)
@data_option
@images_option
@json_option
@quiet_option
@traceback_option
def command(
    run: str,
    formats: tuple[Format, ...],
    output: Path | None,
    data: str | None,
    images: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Export the trained model of RUN; what fails verification is not kept.

    ONNX takes uint8 pixels of any batch size and holds weights, normalisation and card in one file.
    TorchScript is frozen and holds the same card.

    \b
    rtl export runs/photos --format onnx --format torchscript
    """
    from toolchain.export.export import export

    unique = tuple(dict.fromkeys(formats))
    told = terminal.narrator(quiet)
    exported = export(run, unique, output, data=data, images=images, narrator=told)
    if as_json:
        terminal.print_json(
            {
                "version": 1,
                "files": [
                    {
                        "file": str(item.path),
                        "format": item.format,
                        "bytes": item.bytes,
                        "seconds": round(item.seconds, 3),
                        "verification": item.verification,
                    }
                    for item in exported
                ],
            }
        )
    else:
        tables.show_exported(exported)
    terminal.print_next("rtl", "verify", exported[0].path, quiet=quiet)
