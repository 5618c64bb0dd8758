"""The lines of a list or a table that can't be used, told in one error."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from toolchain.errors import DataError

MOST_NUMBERS = 5
"""Further lines whose numbers an error names."""


class WrongLines:
    """Keeps what is wrong with each line, so that all lines are read before the first is told.

    >>> wrong = WrongLines()
    >>> for number, text in enumerate("abc", start=1):
    ...     with wrong.line(number):
    ...         if text != "b":
    ...             raise DataError(f"line {number}: {text} is no b")
    >>> wrong.raise_any()
    Traceback (most recent call last):
    toolchain.errors.DataError: line 1: a is no b; another line is wrong: 3
    """

    def __init__(self) -> None:
        self._first: DataError | None = None
        self._further: list[int] = []

    @contextlib.contextmanager
    def line(self, number: int) -> Iterator[None]:
        """Keep the DataError that reading a line raises."""
        try:
            yield
        except DataError as error:
            if self._first is None:
                self._first = error
            else:
                self._further.append(number)

    def raise_any(self) -> None:
        """Raise the first error, with the numbers of the other wrong lines; nothing without one."""
        if self._first is None:
            return
        if not self._further:
            raise self._first
        shown = ", ".join(str(number) for number in self._further[:MOST_NUMBERS])
        if len(self._further) > MOST_NUMBERS:
            shown += f" and {len(self._further) - MOST_NUMBERS:,} more"
        lines = "another line is" if len(self._further) == 1 else "other lines are"
        raise type(self._first)(
            f"{self._first}; {lines} wrong: {shown}", hint=self._first.hint
        ) from self._first
