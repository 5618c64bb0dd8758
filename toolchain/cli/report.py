"""`rtl report`: a run, or several side by side, as one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from toolchain.cli import tables, terminal
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import data_option, json_option, quiet_option, traceback_option


@click.command(cls=GroupedCommand)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="HTML file to write; by default report.html in RUN, for several comparison.html in the "
    "first.",
)
@data_option
@click.option(
    "--bench",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Benchmark of `rtl bench -o FILE`, beside those in bench/ of RUN; may be given several "
    "times.",
)
@click.option(
    "--pictures/--no-pictures",
    default=True,
    help="Photographs, activation maps and similar training images in the page.",
)
@json_option
@quiet_option
@traceback_option
def command(
    runs: tuple[str, ...],
    output: Path | None,
    data: str | None,
    bench: tuple[Path, ...],
    pictures: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write what is known of RUN into one HTML file, to read and to forward.

    How good it is and on what, the photographs behind each number, its mistakes with what spoke
    for them, the curves of training, parity, speed, and how to make it again. The file
    needs no network. Several runs are compared: settings that differ, a paired test, and the
    images on which only one of them is right.

    \b
    rtl report runs/photos
    rtl report runs/first runs/second -o compared.html
    """
    from toolchain.reporting.report import report

    result = report(
        runs,
        output,
        data=data,
        bench=bench,
        pictures=pictures,
        progress=terminal.progress_reporter(quiet),
    )
    if as_json:
        terminal.print_json(result)
    else:
        tables.show_result(result)
