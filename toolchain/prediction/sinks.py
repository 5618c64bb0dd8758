"""Where predictions are written: the interface of all sinks, a list in memory, a stream of text."""

from __future__ import annotations

from types import TracebackType
from typing import BinaryIO, Protocol, Self

from toolchain.prediction.resume import EarlierRows
from toolchain.prediction.rows import PredictionOrError, TextFormat, row_format
from toolchain.printable import printable_lines
from toolchain.runtime.predictor import Predictor


class Sink(Protocol):
    """Where `predict` writes its rows: `with sink.open(predictor): sink.write(name, result)`.

    Subclasses write `open` and `write`; `__exit__` is for those that have something to close.
    """

    earlier: EarlierRows | None = None
    """Set by `open`: the rows of an earlier run, whose images are skipped; None without any."""

    def open(self, predictor: Predictor) -> Self:
        """Prepare for the predictions of a model; raise DataError where that is impossible."""
        return self

    def write(self, name: str, result: PredictionOrError) -> None:
        """Write the result of one image: a prediction, or the error of one that can't be read."""

    def __enter__(self) -> Self:
        """Return the open sink."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the rows left in memory and close; after an exception the rows are incomplete."""
        return


class InMemory(Sink):
    """A list of (name, result), for callers in Python."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, PredictionOrError]] = []

    def write(self, name: str, result: PredictionOrError) -> None:
        """Append to `rows`."""
        self.rows.append((name, result))


class TextStream(Sink):
    """JSON lines or CSV on a binary stream, flushed after each row; the stream stays open.

    CSV has no escapes: a terminal gets names without control characters, a pipe the exact ones.
    """

    def __init__(
        self, stream: BinaryIO, text_format: TextFormat = "jsonl", *, top: int = 1
    ) -> None:
        self.stream, self.text_format, self.top = stream, text_format, top

    def open(self, predictor: Predictor) -> Self:
        """Write the header."""
        self._format = row_format(self.text_format, predictor.card, self.top)
        self._write(self._format.header)
        return self

    def write(self, name: str, result: PredictionOrError) -> None:
        """Write a row; raise BrokenPipeError where the reader is gone."""
        self._write(self._format.row(name, result))

    def _write(self, text: str) -> None:
        shown = printable_lines(text) if self.stream.isatty() else text
        self.stream.write(shown.encode())
        self.stream.flush()
