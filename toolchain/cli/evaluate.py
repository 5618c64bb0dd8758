"""`rtl evaluate`: print the metrics of a run folder."""

from __future__ import annotations

import click

from toolchain.cli import tables, terminal
from toolchain.cli.options import (
    batch_size_option,
    device_option,
    json_option,
    quiet_option,
    traceback_option,
)


@click.command()
@click.argument("run")
@click.option("--data", help="Data folder, where it is not the one that the run was trained on.")
@click.option(
    "--split",
    type=click.Choice(["auto", "train", "val", "test"]),
    default="auto",
    show_default=True,
    help="Which images; auto takes test where there is one, else val.",
)
@batch_size_option(32)
@device_option
@json_option
@quiet_option
@traceback_option
def command(
    run: str,
    data: str | None,
    split: str,
    batch_size: int,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Evaluate the trained model of RUN on images it was not trained on.

    Accuracy with its 95 % interval, precision, recall and F1 of each class, and the confusion
    matrix; also left in RUN as evaluation.json and confusion.png.

    \b
    rtl evaluate runs/photos
    """
    from toolchain.evaluation.evaluate import evaluate

    result = evaluate(
        run,
        data=data,
        split=split,
        batch_size=batch_size,
        device=device,
        progress=terminal.progress_reporter(quiet),
    )
    if as_json:
        terminal.print_json(result)
    else:
        tables.show_result(result)
    formats = ("--format", "onnx", "--format", "torchscript")
    terminal.print_next("rtl", "export", run, *formats, quiet=quiet)
