"""Progress of long operations, reported through an object that the caller passes in.

Operations such as finetune, evaluate and export take a `ProgressReporter`. The command line passes
one that draws progress bars; an app or a test passes its own, or `SilentReporter`.
"""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class ProgressReporter(Protocol):
    """Receives the progress of an operation."""

    def message(self, text: str) -> None:
        """Show one line to the user."""

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items, and show how many of `total` have been yielded."""


def track_images(
    progress: ProgressReporter,
    batches: Iterable[Item],
    label: str,
    total: int,
    size_of: Callable[[Item], int],
) -> Iterator[Item]:
    """Yield batches, and show how many of `total` images are done; `size_of` counts a batch's."""
    images = progress.track(range(total), label, total)
    try:
        # The first is fetched before the first batch, so that the bar is there while one waits.
        next(images, None)
        for batch in batches:
            yield batch
            deque(itertools.islice(images, size_of(batch)), maxlen=0)
        deque(images, maxlen=0)
    finally:
        if isinstance(images, Generator):
            images.close()


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
