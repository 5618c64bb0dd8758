"""Consoles of rich that print no control characters, whatever a name consists of."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from toolchain.printable import printable_lines


class PrintableConsole(Console):
    """A console that replaces what would move the cursor, also in names of files and classes."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Yield the pieces of text; rich's own control codes are kept."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable_lines(segment.text), segment.style)


def console(*, stderr: bool = False) -> PrintableConsole:
    """Return a console on standard output or error, which prints texts as they are."""
    return PrintableConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
