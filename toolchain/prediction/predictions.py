"""Predictions of many images, kept in memory, and how they look as a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import overload

from toolchain.data.left_out import LeftOut, left_out_lines
from toolchain.display import Block, Cell, Displayed, Line, Span, Table, percent
from toolchain.errors import ImageError
from toolchain.printable import printable
from toolchain.runtime.card import Task
from toolchain.runtime.prediction import Prediction

Row = tuple[str, Prediction | ImageError]
"""Name of an image, and its prediction or why it can't be read."""
SHOWN = 20
"""Number of rows that are shown; all of them are in the sequence."""


class Predictions(Displayed, Sequence[Row]):
    """The result for each image, in order: its file name, and a Prediction or an ImageError.

    `not_found` and `left_out` are no part of the sequence, and slices have none.
    """

    def __init__(
        self,
        rows: Iterable[Row],
        task: Task = "single-label",
        *,
        not_found: Iterable[ImageError] = (),
        left_out: Iterable[LeftOut] = (),
    ) -> None:
        self._rows = tuple(rows)
        self.task: Task = task
        self._not_found = list(not_found)
        self._left_out = tuple(left_out)

    @property
    def not_found(self) -> list[ImageError]:
        """Folders and patterns in which there are no images, and folders that can't be listed."""
        return self._not_found

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What was seen in folders and passed over, counted by kind and reason."""
        return self._left_out

    @property
    def failed(self) -> list[ImageError]:
        """The errors of the images that can't be read, in order."""
        return [result for _, result in self._rows if isinstance(result, ImageError)]

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Row | Predictions:
        if isinstance(index, slice):
            return Predictions(self._rows[index], self.task)
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def blocks(self) -> list[Block]:
        """Return a table of the first rows, how many more there are, and what was not found."""
        blocks: list[Block] = [predictions_table(self._rows[:SHOWN], 1, self.task)]
        if (more := len(self) - SHOWN) > 0:
            blocks.append(Line(f"… and {more:,} more", "quiet"))
        blocks += [Line(str(error), "error") for error in self.not_found[:SHOWN]]
        if (more := len(self.not_found) - SHOWN) > 0:
            blocks.append(Line(f"… and {more:,} more places without images", "quiet"))
        blocks += [Line(line, "unsure") for line in left_out_lines(self.left_out)]
        return blocks


def predictions_table(rows: Iterable[Row], top: int, task: Task = "single-label") -> Table:
    """Return predictions as a table of their `top` classes, errors in place of labels."""
    columns = ("label",) if task == "single-label" else ("labels", "most probable")
    return Table(
        ("file", *columns, "probability"),
        [_table_row(name, result, top, task) for name, result in rows],
        right=("probability",),
    )


def _table_row(
    name: str, result: Prediction | ImageError, top: int, task: Task
) -> tuple[Cell, ...]:
    shown = printable(name.encode("utf-8", "replace").decode())
    if isinstance(result, ImageError):
        reason = Span(printable(str(result).removeprefix(f"{name}: ")), "error")
        return (shown, reason, "") if task == "single-label" else (shown, reason, "", "")
    if not result.finite:
        reason = Span("outputs that are not finite numbers", "error")
        return (shown, reason, "") if task == "single-label" else (shown, reason, "", "")
    best = result.top(top)
    labels = () if task == "single-label" else ("\n".join(map(printable, result.labels)) or "–",)
    names = [printable(label) for label, _ in best]
    if result.rejected:
        names[0] += " (rejected)"
    return shown, *labels, "\n".join(names), "\n".join(percent(p) for _, p in best)
