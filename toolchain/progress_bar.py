"""Progress for a person: lines and bars on a terminal, or a line in a notebook that is updated."""

from __future__ import annotations

import html
import importlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from toolchain.printable import printable
from toolchain.progress import ProgressReporter, SilentReporter

Item = TypeVar("Item")

UPDATE_S = 0.2
"""Between two updates of a bar in a notebook; each is a message to the browser."""


def progress_reporter(progress: bool | ProgressReporter | None) -> ProgressReporter:
    """Return the reporter for the argument `progress` of a function.

    None and False report nothing. True reports in the notebook that the code runs in, else on
    standard error. Any other value has the two methods of `ProgressReporter` and is returned.
    """
    if progress is None or progress is False:
        return SilentReporter()
    if progress is True:
        return NotebookReporter() if _is_notebook() else TerminalReporter()
    return progress


class TerminalReporter:
    """Shows lines and progress bars on standard error; in a pipe, lines only."""

    def __init__(self) -> None:
        from toolchain.screen import console

        self.console = console(stderr=True)

    def message(self, text: str) -> None:
        """Print a line."""
        from rich.text import Text

        self.console.print(Text(printable(text)), soft_wrap=not self.console.is_terminal)

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Draw a bar that is removed after the last item; none where there is nothing to do."""
        if not total or not self.console.is_terminal:
            yield from items
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        with Progress(*columns, console=self.console, transient=True) as progress:
            yield from progress.track(items, total=total, description=printable(label))


class NotebookReporter:
    """Shows lines, and one bar that is updated in place, as HTML outputs of a notebook's cell.

    It needs IPython and no widgets: a saved notebook keeps the lines. `show` is
    `IPython.display.display` unless a test replaces it.
    """

    def __init__(self, show: Callable[..., Any] | None = None) -> None:
        if show is None:
            # By name, because IPython is there in a notebook only.
            show = importlib.import_module("IPython.display").display
        self.show = show

    def message(self, text: str) -> None:
        """Show a line."""
        text = printable(text)
        self.show(HtmlOutput(f"<div>{html.escape(text)}</div>", text))

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Show a bar that is removed after the last item; none where there is nothing to do."""
        if not total:
            yield from items
            return
        handle = self.show(_bar(label, 0, total), display_id=True)
        shown_at = time.monotonic()
        done = 0
        try:
            for item in items:
                yield item
                done += 1
                if time.monotonic() - shown_at >= UPDATE_S:
                    handle.update(_bar(label, done, total))
                    shown_at = time.monotonic()
        finally:
            handle.update(HtmlOutput("", ""))


class HtmlOutput:
    """An output that a notebook shows as HTML, and a console of IPython as text."""

    def __init__(self, content: str, text: str) -> None:
        self.content, self.text = content, text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.content


def _bar(label: str, done: int, total: int) -> HtmlOutput:
    label = printable(label)
    text = f"{label} {done}/{total}"
    bar = f'<progress value="{done}" max="{total}"></progress>'
    return HtmlOutput(f"<div>{html.escape(label)} {bar} {done}/{total}</div>", text)


def _is_notebook() -> bool:
    """Return whether this code runs in a Jupyter kernel; nothing is imported to find out."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and shell.has_trait("kernel")
