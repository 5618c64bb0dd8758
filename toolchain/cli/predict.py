"""`rtl predict`: images → labels, without torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import click

from toolchain.cli import terminal
from toolchain.cli.choices import Choice
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import (
    batch_size_option,
    explain_option,
    json_option,
    provider_option,
    quiet_option,
    threads_option,
    traceback_option,
)
from toolchain.cli.prediction_outcome import (
    raise_interrupted,
    report_outcome,
)
from toolchain.cli.prediction_progress import TerminalProgress
from toolchain.cli.prediction_screen import TableScreen
from toolchain.errors import DataError
from toolchain.files import is_folder
from toolchain.glossary import terms_in
from toolchain.prediction.inputs import STDIN
from toolchain.prediction.predict import Compute, predict
from toolchain.prediction.rowfile import PredictionFile
from toolchain.prediction.rows import TextFormat
from toolchain.prediction.sinks import Sink, TextStream
from toolchain.printable import shell_words
from toolchain.progress import ProgressReporter
from toolchain.runtime.modelfile import checked_digest
from toolchain.runtime.option_checks import MAX_THREADS
from toolchain.runtime.predictor import Predictor

PARQUET_SUFFIX = ".parquet"
FORMAT_OF_SUFFIX = {".csv": "csv", PARQUET_SUFFIX: "parquet"}
"""The format of an --output; any other suffix means JSON lines."""


OPTION_GROUPS = {
    "Images and rows": ("lists", "output_format", "top", "output", "resume", "on_error"),
    "Hardware and speed": (
        "provider",
        "threads",
        "batch_size",
        "workers",
        "use_ray",
        "no_cache",
    ),
}


@click.command(cls=GroupedCommand, groups=OPTION_GROUPS)
@click.argument("model")
@click.argument("inputs", nargs=-1)
@click.option(
    "--files-from",
    "lists",
    multiple=True,
    metavar="FILE",
    help="Also label the files in a list, which has a path a line; - is standard input.",
)
@click.option(
    "--null", "-0", "null", is_flag=True, help="Paths in lists end with a zero byte, not a line."
)
@click.option(
    "--format",
    "output_format",
    type=Choice(["auto", "table", "jsonl", "csv"]),
    default="auto",
    show_default=True,
    help="auto goes by the suffix of --output; else a table on a terminal, JSON lines in a pipe.",
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Write rows to a file as they come."
)
@click.option(
    "--resume", is_flag=True, help="Resume --output: images that have a row in it are skipped."
)
@click.option(
    "--top", type=click.IntRange(min=1), default=1, show_default=True, help="Classes to list."
)
@click.option(
    "--on-error",
    type=Choice(["continue", "fail"]),
    default="continue",
    show_default=True,
    help="Whether an image that can't be read gets its error in its place, or ends the command.",
)
@click.option(
    "--on-nonfinite",
    type=Choice(["raise", "keep"]),
    default="raise",
    show_default=True,
    help="Whether outputs that are NaN or infinite end the command, or get a row without a label.",
)
@click.option("--sha256", help="The digest that MODEL must have, 64 hex digits.")
@click.option(
    "--workers",
    type=click.IntRange(min=1, max=MAX_THREADS),
    help="Images under way at once; by default one for each core. With --ray, actors.",
)
@click.option("--ray", "use_ray", is_flag=True, help="Compute on a Ray cluster, or a local one.")
@click.option("--no-cache", is_flag=True, help="Do not use the model cache.")
@provider_option
@threads_option
@batch_size_option(8)
@explain_option
@json_option
@quiet_option
@traceback_option
def command(
    model: str,
    inputs: tuple[str, ...],
    lists: tuple[str, ...],
    null: bool,
    output_format: str,
    output: Path | None,
    resume: bool,
    top: int,
    on_error: Literal["continue", "fail"],
    workers: int | None,
    use_ray: bool,
    no_cache: bool,
    batch_size: int,
    explain: bool,
    as_json: bool,
    quiet: bool,
    **opening: Any,
) -> None:
    """Label INPUTS with MODEL: image files, folders of them, patterns, or - for standard input.

    MODEL is a model file, or a run folder: its export/model.onnx answers then, or else torch.

    An image that can't be read gets a row with its error, and the others are predicted; the exit
    status is then 7 (4 when it was the only one).

    \b
    rtl predict model.onnx lunch.jpg
    rtl predict runs/photos lunch.jpg
    rtl predict model.onnx photos/ --top 3 --format csv
    rtl predict model.onnx photos/ --output labels.jsonl --resume
    find photos -print0 | rtl predict model.onnx --files-from -
    """
    row_format = _row_format("jsonl" if as_json else output_format, output)
    parquet_inputs = tuple(word for word in inputs if use_ray and word.endswith(PARQUET_SUFFIX))
    _require_inputs(inputs, lists, parquet_inputs)
    _require_writable(row_format, use_ray, resume)
    _require_resumable(resume, output, STDIN in inputs or bool(parquet_inputs))
    _require_digest_form(opening["sha256"])
    opening["cache"] = not no_cache
    progress = _progress(row_format, output, quiet)
    rest: dict[str, Any] = {"files_from": lists, "null": null, "batch_size": batch_size}
    rest |= {"workers": workers, "on_error": on_error, "progress": progress}
    reporter = terminal.progress_reporter(quiet)
    with (
        _open(model, opening, use_ray, reporter) as predictor,
        _computing(predictor, use_ray, parquet_inputs, opening, batch_size, workers) as compute,
    ):
        sink = _sink(row_format, output, top, resume, progress)
        files = () if parquet_inputs else inputs
        try:
            summary = predict(predictor, files, sink=sink, compute=compute, **rest)
        except KeyboardInterrupt as error:
            raise_interrupted(sink, error, resume=resume)
    if explain:
        terminal.print_terms(terms_in("label  probability", "predict"))
    report_outcome(summary, output, reporter)
    terminal.print_next("rtl", "inspect", model, quiet=quiet)


def _open(
    model: str, options: dict[str, Any], use_ray: bool, reporter: ProgressReporter
) -> Predictor:
    """Open a model file, or the run in a folder: by its export, else by torch."""
    predictor = _opened(model, options, use_ray, reporter)
    if predictor.provider_choice is not None:
        reporter.message(f"provider {predictor.provider_choice}")
    return predictor


def _opened(
    model: str, options: dict[str, Any], use_ray: bool, reporter: ProgressReporter
) -> Predictor:
    if not is_folder(model):
        return Predictor(model, **options)
    from toolchain.backends.run_model import RunPredictor, open_predictor

    predictor = open_predictor(model, report=reporter.message, **options)
    if use_ray and isinstance(predictor, RunPredictor):
        raise DataError(
            f"{model}: --ray computes with a model file", hint=shell_words("rtl", "export", model)
        )
    return predictor


def _require_inputs(
    inputs: tuple[str, ...], lists: tuple[str, ...], parquet_inputs: tuple[str, ...]
) -> None:
    if not inputs and not lists:
        raise click.UsageError("missing INPUTS: files, folders, patterns, or --files-from")
    if parquet_inputs and (parquet_inputs != inputs or lists):
        raise click.UsageError("Parquet files of images can't be mixed with other inputs")


def _require_digest_form(sha256: str | None) -> None:
    try:
        _ = sha256 is None or checked_digest(sha256)
    except ValueError as error:
        raise click.BadParameter(
            str(error).removeprefix("sha256 "), param_hint="--sha256"
        ) from error


def _require_resumable(resume: bool, output: Path | None, unnamed: bool) -> None:
    if resume and (output is None or unnamed):
        raise click.UsageError("--resume needs an --output, and inputs that are files with names")


def _require_writable(row_format: str, use_ray: bool, resume: bool) -> None:
    if row_format == "parquet" and (resume or not use_ray):
        raise click.UsageError("Parquet is written with --ray and in one go; or use .jsonl")


def _row_format(asked: str, output: Path | None) -> str:
    """Return the format of the rows: table, jsonl, csv or parquet."""
    if asked == "table" and output is not None:
        raise click.UsageError("a table is for the screen; --output takes --format jsonl or csv")
    if asked != "auto":
        return asked
    if output is not None:
        return FORMAT_OF_SUFFIX.get(output.suffix.lower(), "jsonl")
    return "table" if sys.stdout.isatty() else "jsonl"


def _progress(row_format: str, output: Path | None, quiet: bool) -> TerminalProgress:
    is_terminal = terminal.console(stderr=True).is_terminal
    # Rows that scroll over the terminal show the progress by themselves.
    wants_bar = output is not None or row_format == "table" or not sys.stdout.isatty()
    return TerminalProgress(
        bar=wants_bar and is_terminal and not quiet, lines=not is_terminal and not quiet
    )


def _sink(
    row_format: str, output: Path | None, top: int, resume: bool, progress: TerminalProgress
) -> Sink:
    """Return where the rows go: the screen, standard output or a file."""
    if row_format == "table":
        return TableScreen(progress, top=top)
    text_format = cast("TextFormat", row_format)
    if output is None:
        return TextStream(sys.stdout.buffer, text_format, top=top)
    if row_format == "parquet":
        from toolchain.prediction.parquet import ParquetFile

        return ParquetFile(output, top=top)
    return PredictionFile(output, text_format, top=top, resume=resume)


@contextmanager
def _computing(
    predictor: Predictor,
    use_ray: bool,
    parquet_inputs: tuple[str, ...],
    options: dict[str, Any],
    batch_size: int,
    workers: int | None,
) -> Iterator[Compute | None]:
    """Yield what computes on a Ray cluster, which is open for the block; None is this process."""
    if not use_ray:
        yield None
        return
    for path in parquet_inputs:
        if "://" not in path and not Path(path).exists():
            raise DataError(f"{path}: no such file or folder")
    from toolchain.prediction.cluster import Cluster

    with Cluster(
        predictor.model, predictor.card, options=options, batch_size=batch_size, workers=workers
    ) as cluster:
        yield (
            partial(cluster.predict_parquet, parquet_inputs) if parquet_inputs else cluster.predict
        )
