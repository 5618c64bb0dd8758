"""Time that is limited: a reporter of progress that ends the work when it is over."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from toolchain.progress import ProgressReporter

Item = TypeVar("Item")


class OutOfTime(Exception):
    """The time for a part of the work is over."""


class TimedReporter:
    """A `ProgressReporter` that raises OutOfTime at the first step after its deadline.

    All long work goes through `track`, image by image, so that it ends within a batch. Messages of
    the many small trainings are not shown.
    """

    def __init__(
        self, reporter: ProgressReporter, deadline: float | None, *, messages: bool = False
    ) -> None:
        """`deadline` is as `time.monotonic` counts; None never ends the work."""
        self.reporter, self.deadline, self.messages = reporter, deadline, messages
        self.steps, self.seconds = 0, 0.0
        """Steps that `track` has counted, and the time between the first and the last of them."""
        self.total = 0
        """How many steps the last tracked work has."""

    def message(self, text: str) -> None:
        """Show the line where messages are shown."""
        if self.messages:
            self.reporter.message(text)

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items and count them; raise OutOfTime after the deadline."""
        self.total = total
        started = time.monotonic()
        for item in self.reporter.track(items, label, total):
            now = time.monotonic()
            if self.deadline is not None and now > self.deadline:
                raise OutOfTime
            yield item
            self.steps += 1
            self.seconds += time.monotonic() - started
            started = time.monotonic()
