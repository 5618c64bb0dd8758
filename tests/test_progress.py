"""Progress: notes come before the first message, and not before an error."""

from __future__ import annotations

from toolchain.progress import NotesFirst, SilentReporter


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
