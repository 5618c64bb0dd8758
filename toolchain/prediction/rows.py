"""Predictions as rows of text: JSON lines and CSV, and how they are read again."""

from __future__ import annotations

import csv
import io
import json
from typing import NamedTuple, Protocol

from toolchain.errors import ImageError
from toolchain.runtime.card import Card
from toolchain.runtime.prediction import Prediction

Result = Prediction | ImageError


class WrittenRow(NamedTuple):
    """What a row says that was written earlier."""

    name: str
    """As `RowFormat.written_name` gives it."""
    top: list[tuple[str, float]]
    """The most probable classes; none for an error."""
    error: str | None


class RowFormat(Protocol):
    """How rows look."""

    header: str
    """What stands above the rows, with its line end; empty where nothing does."""
    beginning: str
    """How every file begins."""
    quoted: bool
    """Whether a line end may stand inside a row, in double quotes."""

    def row(self, name: str, result: Result) -> str:
        """Return a row with its line end."""

    def read(self, row: str) -> WrittenRow:
        """Read a row; ValueError where this format, model and number of classes did not make it."""

    def written_name(self, name: str) -> str:
        """Return what stands in a row for a file's name."""


class JsonLines:
    """An object a line; docs/json.md says what is in it."""

    header = ""
    beginning = '{"file": '
    quoted = False

    def __init__(self, card: Card, top: int) -> None:
        self.card, self.top = card, min(top, len(card.classes))

    def row(self, name: str, result: Result) -> str:
        """Return an object and a line end."""
        return json_text(json_row(name, result, self.card, self.top)) + "\n"

    def read(self, row: str) -> WrittenRow:
        """Read a line; ValueError where its keys are not those that `row` gives."""
        said = json.loads(row)
        if not isinstance(said, dict) or not isinstance(said.get("file"), str):
            raise ValueError("not a row")
        if set(said) == {"file", "error", "accepted"}:
            return WrittenRow(said["file"], [], str(said["error"]))
        if set(said) != self._keys() or len(said["top"]) != self.top:
            raise ValueError("another model or other options")
        try:
            top = [(str(best["label"]), float(best["probability"])) for best in said["top"]]
        except (TypeError, KeyError) as error:
            raise ValueError("not a row") from error
        return WrittenRow(said["file"], top, None)

    def written_name(self, name: str) -> str:
        """Return the name as it is; bytes that are no text are `\\udc80` … in JSON."""
        return name

    def _keys(self) -> set[str]:
        if self.card.task == "multi-label":
            return {"file", "labels", "probabilities", "top"}
        rejected = set() if self.card.threshold is None else {"rejected"}
        return {"file", "label", "probability", "top"} | rejected


def json_row(name: str, result: Result, card: Card, top: int) -> dict[str, object]:
    """Return what is said of an image, in the words of docs/json.md."""
    if isinstance(result, ImageError):
        return {"file": name, "error": str(result), "accepted": ImageError.accepted}
    best = [{"label": label, "probability": round(p, 6)} for label, p in result.top(top)]
    if result.task == "multi-label":
        probabilities = [round(p, 6) for _, p in result.predicted]
        return {"file": name, "labels": result.labels, "probabilities": probabilities, "top": best}
    row: dict[str, object] = {
        "file": name,
        "label": result.label,
        "probability": round(result.probability, 6),
    }
    if card.threshold is not None:
        row["rejected"] = result.rejected
    return row | {"top": best}


def json_text(value: object) -> str:
    """Return JSON that can be written as UTF-8, names that are no text included."""
    text = json.dumps(value, ensure_ascii=False)
    return text if _is_utf8(text) else json.dumps(value)


class Csv:
    """A table with a column for each of the most probable classes and its probability."""

    quoted = True

    def __init__(self, card: Card, top: int) -> None:
        self.card, self.top = card, top
        ranked = [
            f"{name}_{rank}" for rank in range(1, top + 1) for name in ("label", "probability")
        ]
        # `labels` as in the CSV that a multi-label model was trained on.
        self.before = ["labels"] if card.task == "multi-label" else []
        self.after = ["rejected"] if self._may_reject else []
        self.columns = [*self.before, *ranked, *self.after]
        self.header = self.beginning = _csv_line(["file", *self.columns, "error"])

    @property
    def _may_reject(self) -> bool:
        return self.card.task == "single-label" and self.card.threshold is not None

    def row(self, name: str, result: Result) -> str:
        """Return a row and a line end; a name may have a line end too, in quotes."""
        name = self.written_name(name)
        if isinstance(result, ImageError):
            return _csv_line([name, *[""] * len(self.columns), shown_text(str(result))])
        best = [cell for label, p in result.top(self.top) for cell in (label, f"{p:.6f}")]
        # A model with fewer classes than `top` leaves the last columns empty.
        best += [""] * (2 * self.top - len(best))
        before = [";".join(result.labels)] if self.before else []
        after = [str(result.rejected).lower()] if self.after else []
        return _csv_line([name, *before, *best, *after, ""])

    def read(self, row: str) -> WrittenRow:
        """Read a row; ValueError where it has other columns."""
        [cells] = csv.reader(io.StringIO(row, newline=""))
        if len(cells) != len(self.columns) + 2:
            raise ValueError("not a row")
        best = cells[1 + len(self.before) : len(cells) - 1 - len(self.after)]
        pairs = zip(best[::2], best[1::2], strict=True)
        return WrittenRow(
            cells[0], [(label, float(p)) for label, p in pairs if label], cells[-1] or None
        )

    def written_name(self, name: str) -> str:
        """Return the name, with `\\udc80` … in place of bytes that are no text."""
        return shown_text(name)


def shown_text(text: str) -> str:
    """Return a text that can be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _csv_line(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)  # so that either is quoted in a name
    return line.getvalue().removesuffix("\r\n") + "\n"


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
