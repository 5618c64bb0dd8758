"""Time that is limited: a reporter of progress that ends the work when it is over."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from toolchain.progress import ProgressReporter

Item = TypeVar("Item")

WARM_STEPS, WARM_S = 16, 1.5
"""Steps and seconds at the beginning, which are slow; the rest is foreseen from what follows."""
SURE_STEPS, SURE_S = 64, 1.5
"""Steps and seconds after these from which it is foreseen; images come in batches."""
OVER = 2.0
"""Work is given up where the rest would take so many times the time that is left: the first steps
are slow, and other programs come and go."""


class OutOfTime(Exception):
    """The time for a part of the work is over."""


class EpochsTooSlow(OutOfTime):
    """The epochs of a training can't be done in its time, whatever was kept for them before."""


class TimedReporter:
    """A `ProgressReporter` that raises OutOfTime at the first step after its deadline.

    All long work goes through `track`, image by image, so that it ends within a batch. Work that
    can't be done by far until then is given up as soon as that is seen. Messages of the many small
    trainings are not shown.
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
        """Yield the items and count them; raise OutOfTime after the deadline, or well before it."""
        self.total = total
        foresight = _Foresight(total)
        started = time.monotonic()
        for number, item in enumerate(self.reporter.track(items, label, total)):
            now = time.monotonic()
            if self.deadline is not None and foresight.is_hopeless(number, now, self.deadline):
                raise OutOfTime
            yield item
            self.steps += 1
            self.seconds += time.monotonic() - started
            started = time.monotonic()


class _Foresight:
    """How long the rest of some work takes, seen from what is done."""

    def __init__(self, total: int) -> None:
        self.total, self.began = total, time.monotonic()
        self.warm: tuple[int, float] | None = None
        """Steps and time when the slow beginning was over."""

    def is_hopeless(self, done: int, now: float, deadline: float) -> bool:
        """Return whether the time is over, or the rest would take far longer than is left."""
        if now > deadline:
            return True
        if self.warm is None:
            if done >= WARM_STEPS and now - self.began >= WARM_S:
                self.warm = done, now
            return False
        steps, seconds = done - self.warm[0], now - self.warm[1]
        if steps < SURE_STEPS or seconds < SURE_S:
            return False
        return seconds / steps * (self.total - done) > OVER * (deadline - now)
