"""`rtl evaluate`: print the metrics of a run folder."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli import tables, terminal
from toolchain.cli.choices import Choice
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import (
    batch_size_option,
    device_option,
    explain_option,
    json_option,
    quiet_option,
    traceback_option,
)
from toolchain.files import require_writable


@click.command(cls=GroupedCommand)
@click.argument("run")
@click.option("--data", help="Data folder, where it is not the one that the run was trained on.")
@click.option(
    "--split",
    type=Choice(["auto", "train", "val", "test"]),
    default="auto",
    show_default=True,
    help="Which images; auto takes test where there is one, else val.",
)
@click.option(
    "--wrong",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the images that were labelled wrong to a CSV file, the surest first.",
)
@batch_size_option(32)
@device_option
@explain_option
@json_option
@quiet_option
@traceback_option
def command(
    run: str,
    data: str | None,
    split: str,
    wrong: Path | None,
    batch_size: int,
    device: str,
    explain: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Evaluate the trained model of RUN on images it was not trained on.

    Accuracy with its 95 % interval, precision, recall and F1 of each class, and the images that it
    labels wrong. Leaves evaluation.json in RUN, and the confusion matrix in confusion.png, where it
    replaces that of training.

    \b
    rtl evaluate runs/photos
    rtl evaluate runs/photos --wrong wrong.csv
    """
    from toolchain.evaluation.evaluate import evaluate
    from toolchain.evaluation.image_results import write_wrong

    if wrong is not None:
        require_writable(wrong)
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
    if wrong is not None:  # after the result, which a full disk must not cost
        write_wrong(wrong, result.wrong)
    tables.explain(result, "evaluate", wanted=explain, quiet=quiet or as_json)
    terminal.print_next("rtl", "export", run, quiet=quiet)
