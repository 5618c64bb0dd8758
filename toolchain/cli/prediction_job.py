"""Images that are predicted one after the other, their rows written, and what that adds up to."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.cli import terminal
from toolchain.cli.prediction_progress import PredictionProgress
from toolchain.cli.prediction_screen import Screen, Stream
from toolchain.errors import ImageError, Interrupted, PartialFailure
from toolchain.prediction.inputs import Found, Inputs
from toolchain.prediction.rowfile import PredictionFile
from toolchain.prediction.rows import Csv, JsonLines, Result, RowFormat
from toolchain.runtime.predictor import Predictor

if TYPE_CHECKING:
    from toolchain.prediction.parquet import ParquetFile

SHOWN_FAILURES = 10

Rows = Generator[tuple[str, Result], None, None]
"""Name and prediction or error of each image, in order."""
Label = Callable[[Iterable[Found]], Rows]


def label_here(
    predictor: Predictor, batch_size: int, workers: int | None, found: Iterable[Found]
) -> Rows:
    """Yield the rows of images as this process computes them."""
    names: deque[str] = deque()

    def sources() -> Iterator[Path | bytes]:
        for name, source in found:
            names.append(name)
            yield source

    many = predictor.predict_many(sources(), batch_size=batch_size, workers=workers)
    with closing(many) as results:
        for result in results:
            yield names.popleft(), result


class PredictionJob:
    """Labels what the inputs stand for; `label` says how."""

    def __init__(
        self, predictor: Predictor, inputs: Inputs, label: Label, *, on_error: str, quiet: bool
    ) -> None:
        self.predictor, self.inputs, self.label = predictor, inputs, label
        self.on_error, self.quiet = on_error, quiet
        self.images = 0
        self.failed = 0
        self.failures: list[ImageError] = []
        """The first of them."""

    def show(self, form: str, top: int) -> None:
        """Put the rows on standard output: `form` is table, jsonl or csv."""
        # Rows that run over the terminal are their own progress.
        progress = self._progress(bar=form == "table" or not sys.stdout.isatty())
        out: Screen | Stream
        if form == "table":
            out = Screen(top, self.predictor.card.task, progress)
        else:
            out = Stream(self._rows(form, top))
        with progress, out:
            self._run(self.inputs, out, progress)

    def save(self, path: Path, form: str, top: int, *, resume: bool) -> None:
        """Put the rows into a file: `form` is jsonl or csv."""
        rows = self._rows(form, top)
        started = time.monotonic()
        try:
            with PredictionFile(path, rows, resume=resume) as file:
                file.done.require_made_by(self.predictor)
                left = (item for item in self.inputs if not file.done.take(item.name, rows))
                with self._progress(bar=True, done=file.done.rows) as progress:
                    self._run(left, file, progress)
        except KeyboardInterrupt as error:
            again = [*sys.argv[1:], *([] if resume else ["--resume"])]
            raise Interrupted(
                f"interrupted; {path} has {file.done.rows + file.written:,} rows",
                hint=terminal.rtl_command(*again),
            ) from error
        earlier = f", {file.done.rows:,} were there" if file.done.rows else ""
        self._say_made(path, file.written, started, earlier)
        self.images += file.done.rows
        self.failed += file.done.failed

    def save_parquet(self, path: Path, top: int) -> None:
        """Put the rows into a Parquet file."""
        from toolchain.prediction.parquet import ParquetFile

        started = time.monotonic()
        with (
            ParquetFile(path, self.predictor.card, top) as file,
            self._progress(bar=True) as progress,
        ):
            self._run(self.inputs, file, progress)
        self._say_made(path, file.written, started, "")

    def conclude(self, output: Path | None) -> None:
        """Raise what the images that can't be read, and places without any, add up to."""
        complaints = self.inputs.complaints
        failures = [*self.failures, *complaints]
        failed, images = self.failed + len(complaints), self.images + len(complaints)
        if not failed:
            return
        if images == 1 and failures:
            raise failures[0]
        if len(failures) > 1:
            progress = terminal.progress_reporter(self.quiet)
            for failure in failures[:SHOWN_FAILURES]:
                progress.message(f"not read: {failure}")
            if failed > SHOWN_FAILURES:
                progress.message(f"… and {failed - SHOWN_FAILURES:,} more")
        first = f", first {failures[0]}" if failures else ""
        raise PartialFailure(
            f"{failed:,} of {images:,} images can't be read{first}",
            hint=f"they stand in {output or 'the output'} with their errors",
        )

    def _run(
        self,
        found: Iterable[Found],
        out: Screen | Stream | PredictionFile | ParquetFile,
        progress: PredictionProgress,
    ) -> None:
        with closing(self.label(found)) as rows:
            for name, result in rows:
                self.images += 1
                if isinstance(result, ImageError):
                    self._note(result)
                out.write(name, result)
                progress.advance()

    def _note(self, failure: ImageError) -> None:
        if self.on_error == "fail":
            raise failure
        self.failed += 1
        if len(self.failures) <= SHOWN_FAILURES:
            self.failures.append(failure)

    def _rows(self, form: str, top: int) -> RowFormat:
        return (Csv if form == "csv" else JsonLines)(self.predictor.card, top)

    def _progress(self, *, bar: bool, done: int = 0) -> PredictionProgress:
        watched = terminal.console(stderr=True).is_terminal
        shown = bar and watched and not self.quiet
        total = self.inputs.count() if shown else None
        left = max(0, total - done) if total else None
        return PredictionProgress(left, bar=shown, lines=not watched and not self.quiet)

    def _say_made(self, path: Path, images: int, started: float, earlier: str) -> None:
        rate = images / (time.monotonic() - started)
        terminal.progress_reporter(self.quiet).message(
            f"{path}: {images:,} images at {rate:.1f}/s{earlier}"
        )
