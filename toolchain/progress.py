"""Progress of long operations, reported through an object that the caller passes in.

Operations such as finetune, evaluate and export take a `ProgressReporter`. The command line passes
one that draws progress bars; an app or a test passes its own, or `SilentReporter`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class ProgressReporter(Protocol):
    """Receives the progress of an operation."""

    def message(self, text: str) -> None:
        """Show one line to the user."""

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items, and show how many of `total` have been yielded."""


def is_rank_zero() -> bool:
    """Return whether this process reports: it is the only one, or torchrun's rank 0."""
    return os.environ.get("RANK", "0") == "0"


class SilentReporter:
    """A `ProgressReporter` that shows nothing."""

    def message(self, text: str) -> None:
        """Discard the line."""

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items."""
        return iter(items)


class NotesFirst:
    """A `ProgressReporter` that shows some lines before the first message, and none without one.

    So an error before the work begins stays one line.
    """

    def __init__(self, reporter: ProgressReporter, notes: Iterable[str]) -> None:
        self.reporter, self.notes = reporter, list(notes)

    def message(self, text: str) -> None:
        """Show the notes that are left, then the line."""
        while self.notes:
            self.reporter.message(self.notes.pop(0))
        self.reporter.message(text)

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items, and show how many have been yielded."""
        return self.reporter.track(items, label, total)
