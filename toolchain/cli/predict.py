"""`rtl predict`: images → labels, without torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from toolchain.cli import terminal
from toolchain.cli.options import (
    batch_size_option,
    json_option,
    provider_option,
    quiet_option,
    threads_option,
    traceback_option,
)
from toolchain.cli.prediction_job import Label, PredictionJob, label_here
from toolchain.errors import DataError
from toolchain.prediction.inputs import STDIN, Inputs
from toolchain.runtime.predictor import Predictor

FORMATS = {".csv": "csv", ".parquet": "parquet"}
"""Of an --output, by its suffix; JSON lines otherwise."""
PARQUET = ".parquet"


@click.command()
@click.argument("model")
@click.argument("inputs", nargs=-1)
@click.option(
    "--files-from",
    "lists",
    multiple=True,
    metavar="FILE",
    help="Also label the files in a list: a path a line, or each ended by a zero byte; - is "
    "standard input.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["auto", "table", "jsonl", "csv"]),
    default="auto",
    show_default=True,
    help="auto goes by the suffix of --output; else a table on a terminal, JSON lines in a pipe.",
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Write rows to a file as they come."
)
@click.option("--resume", is_flag=True, help="Go on with --output: what it has is skipped.")
@click.option(
    "--top", type=click.IntRange(min=1), default=1, show_default=True, help="Classes to list."
)
@click.option(
    "--on-error",
    type=click.Choice(["continue", "fail"]),
    default="continue",
    show_default=True,
    help="Whether an image that can't be read gets its error in its place, or ends the command.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Images under way at once; by default one for each core. With --ray, actors.",
)
@click.option("--ray", "use_ray", is_flag=True, help="Compute on a Ray cluster, or a local one.")
@click.option("--no-cache", is_flag=True, help="Go without the engine cache.")
@provider_option
@threads_option
@batch_size_option(8)
@json_option
@quiet_option
@traceback_option
def command(
    model: str,
    inputs: tuple[str, ...],
    lists: tuple[str, ...],
    output_format: str,
    output: Path | None,
    resume: bool,
    top: int,
    on_error: str,
    workers: int | None,
    use_ray: bool,
    no_cache: bool,
    provider: str,
    threads: int | None,
    batch_size: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Label INPUTS with MODEL: image files, folders of them, patterns, or - for standard input.

    An image that can't be read gets its error in its place and the rest goes on; the exit status
    is then 7 (4 when it was the only one).

    \b
    rtl predict model.onnx lunch.jpg
    rtl predict model.onnx photos/ --top 3 --format csv
    rtl predict model.onnx photos/ --output labels.jsonl --resume
    find photos -newer labels.jsonl -print0 | rtl predict model.onnx --files-from -
    """
    form = _form("jsonl" if as_json else output_format, output)
    tables = tuple(word for word in inputs if use_ray and word.endswith(PARQUET))
    if not inputs and not lists:
        raise click.UsageError("missing INPUTS: files, folders, patterns, or --files-from")
    if tables and (tables != inputs or lists):
        raise click.UsageError("Parquet files of images can't be mixed with other inputs")
    if resume and (output is None or STDIN in inputs or tables):
        raise click.UsageError("--resume goes on with an --output, of files that have names")
    if form == "parquet" and (resume or not use_ray):
        raise click.UsageError("Parquet is written with --ray and in one go; or use .jsonl")
    options: dict[str, Any] = {"provider": provider, "threads": threads, "cache": not no_cache}
    with (
        Predictor(model, **options) as predictor,
        _labelling(predictor, use_ray, tables, options, batch_size, workers) as label,
    ):
        found = Inputs(() if tables else inputs, lists)
        job = PredictionJob(predictor, found, label, on_error=on_error, quiet=quiet)
        if output is None:
            job.show(form, top)
        elif form == "parquet":
            job.save_parquet(output, top)
        else:
            job.save(output, form, top, resume=resume)
    job.conclude(output)
    terminal.print_next("rtl", "inspect", model, quiet=quiet)


def _form(asked: str, output: Path | None) -> str:
    """Decide how the rows look: table, jsonl, csv or parquet."""
    if asked == "table" and output is not None:
        raise click.UsageError("a table is for the screen; --output takes --format jsonl or csv")
    if asked != "auto":
        return asked
    if output is not None:
        return FORMATS.get(output.suffix.lower(), "jsonl")
    return "table" if sys.stdout.isatty() else "jsonl"


@contextmanager
def _labelling(
    predictor: Predictor,
    use_ray: bool,
    tables: tuple[str, ...],
    options: dict[str, Any],
    batch_size: int,
    workers: int | None,
) -> Iterator[Label]:
    """Yield what labels images: this process, or a Ray cluster that lasts for the block."""
    if not use_ray:
        yield partial(label_here, predictor, batch_size, workers)
        return
    if missing := [table for table in tables if "://" not in table and not Path(table).exists()]:
        raise DataError(f"{missing[0]}: no such file or folder")
    from toolchain.prediction.cluster import Cluster

    with Cluster(
        predictor.model, predictor.card, options=options, batch_size=batch_size, workers=workers
    ) as cluster:
        yield partial(cluster.label_parquet, tables) if tables else cluster.label
