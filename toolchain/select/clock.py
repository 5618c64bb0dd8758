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
    """A `ProgressReporter` that raises OutOfTime before its deadline is passed.

    All long work goes through `track`, image by image, so that it ends before a batch that would
    overrun. Work that can't be done by far until then is given up as soon as that is seen. Messages
    of the many small trainings are not shown.
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
        """Yield the items and count them; raise OutOfTime before the deadline, or well before."""
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
    """How long the next batch and the rest of some work take, seen from what is done."""

    def __init__(self, total: int) -> None:
        self.total, self.began = total, time.monotonic()
        self.batches = _Batches(self.began)
        self.warm: tuple[int, float] | None = None
        """Steps and time when the slow beginning was over."""

    def is_hopeless(self, done: int, now: float, deadline: float) -> bool:
        """Return whether another batch would overrun, or the rest takes far longer than is left."""
        self.batches.note(done, now)
        is_last = done + 1 >= self.total
        if now > deadline or (not is_last and now + self.batches.next_s(done) > deadline):
            return True
        if self.warm is None:
            if done >= WARM_STEPS and now - self.began >= WARM_S:
                self.warm = done, now
            return False
        steps, seconds = done - self.warm[0], now - self.warm[1]
        if steps < SURE_STEPS or seconds < SURE_S:
            return False
        return seconds / steps * (self.total - done) > OVER * (deadline - now)


class _Batches:
    """Steps that come in batches: a long one, then as many short ones as a batch has images."""

    def __init__(self, began: float) -> None:
        self.last, self.longest_s = began, 0.0
        """When the last step was, and the longest time that one took."""
        self.ended, self.size = 0, 0
        """The step that ended the last batch, and how many a batch has; 0 as long as unknown."""

    def note(self, done: int, now: float) -> None:
        """Take note of a step."""
        seconds, self.last = now - self.last, now
        if done == 0:  # what comes before the first step comes once
            return
        if 2 * seconds > self.longest_s:
            self.size, self.ended = done - self.ended if self.ended else 0, done
        self.longest_s = max(self.longest_s, seconds)

    def next_s(self, done: int) -> float:
        """Return the seconds that the next step takes; 0 for one of a batch that is computed."""
        begins = self.size and done - self.ended >= self.size - 1
        return self.longest_s if begins else 0.0
