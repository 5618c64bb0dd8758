"""`rtl predict`: images → labels, without torch."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import click

from toolchain.cli import tables, terminal
from toolchain.cli.options import (
    batch_size_option,
    json_option,
    provider_option,
    quiet_option,
    threads_option,
    traceback_option,
)
from toolchain.data.layouts import images_under
from toolchain.errors import ImageError, PartialFailure
from toolchain.runtime.card import Task
from toolchain.runtime.prediction import Prediction
from toolchain.runtime.predictor import Predictor

Row = tuple[str, Prediction | ImageError]


@click.command()
@click.argument("model")
@click.argument("inputs", nargs=-1, required=True)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["auto", "table", "jsonl", "csv"]),
    default="auto",
    show_default=True,
    help="auto is a table on a terminal and JSON lines in a pipe.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=1, show_default=True, help="Classes to list."
)
@provider_option
@threads_option
@batch_size_option(8)
@json_option
@quiet_option
@traceback_option
def command(
    model: str,
    inputs: tuple[str, ...],
    output_format: str,
    top: int,
    provider: str,
    threads: int | None,
    batch_size: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """Label INPUTS, image files or folders of them, with MODEL.

    An image that can't be read gets its error in its place and the rest goes on; the exit status
    is then 7 (4 when it was the only one).

    \b
    rtl predict model.onnx lunch.jpg
    rtl predict model.onnx photos/ --top 3 --format csv
    """
    predictor = Predictor(model, provider=provider, threads=threads)
    files = [file for name in inputs for file in _files(Path(name))]
    if output_format == "auto":
        output_format = "table" if sys.stdout.isatty() else "jsonl"
    told = terminal.narrator(quiet)
    rows = _predict(predictor, files, batch_size)
    tracked = told.track(rows, "predicting", len(files))
    form = "jsonl" if as_json else output_format
    failures = _write(tracked, form, top, predictor.card.task)
    if len(files) == 1 and failures:
        raise failures[0]
    if failures:
        raise PartialFailure(
            f"{len(failures)} of {len(files)} images can't be read, first {failures[0]}",
            hint="they stand in the output with their errors",
        )
    terminal.print_next("rtl", "inspect", model, quiet=quiet)


def _files(path: Path) -> list[Path]:
    """Give a file itself, or the images under a folder; ImageError for an empty folder."""
    if not path.is_dir():
        return [path]
    found = images_under(path)
    if not found:
        raise ImageError(f"{path}: no images in this folder")
    return found


def _predict(predictor: Predictor, files: Iterable[Path], batch_size: int) -> Iterator[Row]:
    remaining = iter(files)
    while batch := list(islice(remaining, batch_size)):
        results = predictor.predict_many(batch, batch_size=batch_size)
        yield from zip((str(path) for path in batch), results, strict=True)


def _write(rows: Iterable[Row], output_format: str, top: int, task: Task) -> list[ImageError]:
    """Write predictions as they come (a table at the end) and give the errors among them."""
    failures: list[ImageError] = []

    def noted() -> Iterator[Row]:
        for name, result in rows:
            if isinstance(result, ImageError):
                failures.append(result)
            yield name, result

    if output_format == "table":
        tables.show(tables.predictions_table(noted(), top, task))
    elif output_format == "csv":
        _write_csv(noted(), top, task, sys.stdout)
    else:
        for name, result in noted():
            click.echo(json.dumps(_line(name, result, top), ensure_ascii=False))
    return failures


def _line(name: str, result: Prediction | ImageError, top: int) -> dict[str, object]:
    if isinstance(result, ImageError):
        return {"file": name, "error": str(result), "accepted": ImageError.accepted}
    best = [{"label": label, "probability": round(p, 6)} for label, p in result.top(top)]
    if result.task == "multi-label":
        probabilities = [round(p, 6) for _, p in result.predicted]
        return {"file": name, "labels": result.labels, "probabilities": probabilities, "top": best}
    return {
        "file": name,
        "label": result.label,
        "probability": round(result.probability, 6),
        "top": best,
    }


def _write_csv(rows: Iterable[Row], top: int, task: Task, stream: IO[str]) -> None:
    writer = csv.writer(stream)
    ranked = [f"{name}_{rank}" for rank in range(1, top + 1) for name in ("label", "probability")]
    # As in the CSV that such a model was trained on.
    columns = (["labels"] if task == "multi-label" else []) + ranked
    writer.writerow(["file", *columns, "error"])
    for name, result in rows:
        if isinstance(result, ImageError):
            writer.writerow([name, *[""] * len(columns), str(result)])
            continue
        cells = [";".join(result.labels)] if task == "multi-label" else []
        cells += [cell for label, p in result.top(top) for cell in (label, f"{p:.6f}")]
        # A model with fewer classes than `top` leaves the last columns empty.
        writer.writerow([name, *cells, *[""] * (len(columns) - len(cells)), ""])
