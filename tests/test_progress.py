"""Progress in images of batches of any size; notes come before the first message."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import StringIO
from typing import TypeVar

import pytest

from toolchain.progress import NotesFirst, SilentReporter, track_images
from toolchain.progress_bar import TerminalReporter
from toolchain.screen import PrintableConsole

Item = TypeVar("Item")


class Counting:
    """Counts what was shown as done."""

    def __init__(self) -> None:
        self.done, self.total, self.label, self.is_open = 0, 0, "", False

    def message(self, text: str) -> None:
        raise AssertionError(text)

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        self.total, self.label, self.is_open = total, label, True
        try:
            for item in items:
                yield item
                self.done += 1
        finally:
            self.is_open = False


def test_batches_of_any_size_are_counted_as_images() -> None:
    reporter, seen = Counting(), []
    batches = ["aaaa", "bbbb", "cc"]
    for batch in track_images(reporter, batches, "epoch 1/2, images", 10, len):
        seen.append((batch, reporter.done))
    assert seen == [("aaaa", 0), ("bbbb", 4), ("cc", 8)]
    assert (reporter.done, reporter.total, reporter.label) == (10, 10, "epoch 1/2, images")
    assert not reporter.is_open


@pytest.mark.parametrize("total", [0, 3, 99])
def test_a_wrong_total_loses_no_batch(total: int) -> None:
    assert list(track_images(Counting(), ["aa", "bb"], "", total, len)) == ["aa", "bb"]
    assert list(track_images(SilentReporter(), ["aa", "bb"], "", total, len)) == ["aa", "bb"]


def test_nothing_to_do_shows_no_bar() -> None:
    shown = StringIO()
    terminal = TerminalReporter()
    terminal.console = PrintableConsole(file=shown, force_terminal=True)
    assert list(terminal.track([], "measuring scenarios", 0)) == []
    assert shown.getvalue() == ""
    assert list(terminal.track([1], "measuring", 1)) == [1]
    assert "measuring" in shown.getvalue()


def test_an_error_between_batches_closes_the_bar() -> None:
    reporter = Counting()
    batches = track_images(reporter, ["aa", "bb"], "", 4, len)
    next(batches)
    assert reporter.is_open
    batches.close()  # type: ignore[attr-defined]
    assert not reporter.is_open


class Lines(SilentReporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def test_notes_are_shown_once_before_the_first_message() -> None:
    shown = Lines()
    reporter = NotesFirst(shown, ["a is ignored"])
    assert list(reporter.track([1, 2], "reading", 2)) == [1, 2]
    assert shown.lines == []
    reporter.message("3 classes")
    reporter.message("epoch 1")
    assert shown.lines == ["a is ignored", "3 classes", "epoch 1"]
