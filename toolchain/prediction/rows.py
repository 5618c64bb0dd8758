"""Predictions as rows of text: JSON lines and CSV, written and parsed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Generator
from typing import Any, Literal, NamedTuple, Protocol

from toolchain.errors import ImageError
from toolchain.printable import printable_json
from toolchain.runtime.card import Card
from toolchain.runtime.prediction import Prediction

PredictionOrError = Prediction | ImageError
"""The result of one image: `ImageError` where it can't be read."""
PredictionRows = Generator[tuple[str, PredictionOrError], None, None]
"""The name and the result of each image, in the order of the inputs."""
TextFormat = Literal["jsonl", "csv"]


class ParsedRow(NamedTuple):
    """A row that was parsed from a file of predictions."""

    name: str
    """The image's name as `RowFormat.written_name` returns it."""
    top: list[tuple[str, float]]
    """The most probable classes and their probabilities; empty for an error."""
    error: str | None


class RowFormat(Protocol):
    """A text format of rows, for one model and one number of classes."""

    header: str
    """The line above the rows, with its line end; empty for a format without one."""
    beginning: str
    """The text that every file of this format begins with."""
    quoted: bool
    """Whether a row may contain line ends, in double quotes."""

    def row(self, name: str, result: PredictionOrError) -> str:
        """Return a row with its line end."""

    def read(self, row: str) -> ParsedRow:
        """Parse a row; raise ValueError for another format, model or number of classes."""

    def written_name(self, name: str) -> str:
        """Return a file's name as it is written in a row."""


def row_format(name: TextFormat, card: Card, top: int) -> RowFormat:
    """Return the format of that name, with the `top` most probable classes in each row."""
    return Csv(card, top) if name == "csv" else JsonLines(card, top)


class JsonLines:
    """One JSON object a line; docs/json.md lists its keys."""

    header = ""
    beginning = '{"file": '
    quoted = False

    def __init__(self, card: Card, top: int) -> None:
        self.card, self.top = card, min(top, len(card.classes))

    def row(self, name: str, result: PredictionOrError) -> str:
        """Return a JSON object and a line end."""
        return utf8_json(json_row(name, result, self.top)) + "\n"

    def read(self, row: str) -> ParsedRow:
        """Parse a line; raise ValueError where its keys are not those that `row` writes."""
        fields = json.loads(row)
        if not isinstance(fields, dict) or not isinstance(fields.get("file"), str):
            raise ValueError("not a row")
        if set(fields) == {"file", "error", "accepted"}:
            return ParsedRow(fields["file"], [], str(fields["error"]))
        without_label = fields.get("label", "") is None  # its outputs were not finite numbers
        listed = 0 if without_label else self.top
        if set(fields) != self._keys() or len(fields["top"]) != listed:
            raise ValueError("another model or other options")
        try:
            top = [(str(best["label"]), float(best["probability"])) for best in fields["top"]]
        except (TypeError, KeyError) as error:
            raise ValueError("not a row") from error
        return ParsedRow(fields["file"], top, None)

    def written_name(self, name: str) -> str:
        """Return the name itself; JSON escapes bytes that are not UTF-8 as `\\udc80` …"""
        return name

    def _keys(self) -> set[str]:
        if self.card.task == "multi-label":
            return {"file", "labels", "probabilities", "top"}
        rejected = set() if self.card.threshold is None else {"rejected"}
        return {"file", "label", "probability", "top"} | rejected


def json_row(name: str, result: PredictionOrError, top: int) -> dict[str, object]:
    """Return the keys and values of docs/json.md for one image."""
    if isinstance(result, ImageError):
        return {"file": name, "error": str(result), "accepted": ImageError.accepted}
    return {"file": name} | {key: _rounded(value) for key, value in result.as_dict(top).items()}


def _rounded(value: Any) -> Any:
    """Return a value of a row with its probabilities rounded to six digits."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return value


def utf8_json(value: object) -> str:
    """Return JSON that can be encoded as UTF-8 and printed; names keep their value by escapes."""
    return printable_json(json.dumps(value, ensure_ascii=False))


class Csv:
    """CSV with two columns, label and probability, for each of the most probable classes."""

    quoted = True

    def __init__(self, card: Card, top: int) -> None:
        self.card, self.top = card, top
        ranked = [
            f"{name}_{rank}" for rank in range(1, top + 1) for name in ("label", "probability")
        ]
        # The name is that of the column in the CSV a multi-label model is trained on.
        self.leading = ["labels"] if card.task == "multi-label" else []
        self.trailing = ["rejected"] if self._may_reject else []
        self.columns = [*self.leading, *ranked, *self.trailing]
        self.header = self.beginning = _csv_line(["file", *self.columns, "error"])

    @property
    def _may_reject(self) -> bool:
        return self.card.task == "single-label" and self.card.threshold is not None

    def row(self, name: str, result: PredictionOrError) -> str:
        """Return a row and a line end; line ends in a name are in double quotes."""
        name = self.written_name(name)
        if isinstance(result, ImageError):
            return _csv_line([name, *[""] * len(self.columns), shown_text(str(result))])
        best = [cell for label, p in result.top(self.top) for cell in (label, f"{p:.6f}")]
        # A model with fewer classes than `top` leaves the last columns empty.
        best += [""] * (2 * self.top - len(best))
        leading = [";".join(result.labels)] if self.leading else []
        trailing = [str(result.finite and result.rejected).lower()] if self.trailing else []
        return _csv_line([name, *leading, *best, *trailing, ""])

    def read(self, row: str) -> ParsedRow:
        """Parse a row; raise ValueError for another number of columns."""
        [cells] = csv.reader(io.StringIO(row, newline=""))
        if len(cells) != len(self.columns) + 2:
            raise ValueError("not a row")
        best = cells[1 + len(self.leading) : len(cells) - 1 - len(self.trailing)]
        pairs = zip(best[::2], best[1::2], strict=True)
        return ParsedRow(
            cells[0], [(label, float(p)) for label, p in pairs if label], cells[-1] or None
        )

    def written_name(self, name: str) -> str:
        """Return the name, with `\\udc80` … in place of bytes that are not UTF-8."""
        return shown_text(name)


def shown_text(text: str) -> str:
    """Return a text that can be encoded as UTF-8; lone surrogates become `\\udc80` …"""
    return text.encode("utf-8", "backslashreplace").decode()


def _csv_line(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # \r and \n in a name are then quoted
    return line.getvalue().removesuffix("\r\n") + "\n"
