"""Text in a cell of a table: paths and names too long for a line are broken at their separators."""

from __future__ import annotations

import re
from typing import Any

from rich.console import Console
from rich.containers import Lines
from rich.text import Text

_PART = re.compile(r"[^\s/\\._,-]*[/\\._,-]*")
"""A part of a word, with the separators that end it."""


class CellText(Text):
    """A text whose words may be broken after / . _ and -; rich breaks them at any letter."""

    def wrap(self, console: Console, width: int, **options: Any) -> Lines:
        """Return the lines of at most `width` columns."""
        words = re.split(r"(\s+)", self.plain)
        if options.get("no_wrap") or all(len(word) <= width for word in words):
            return super().wrap(console, width, **options)
        broken = "".join("\n".join(pieces(w, width)) if len(w) > width else w for w in words)
        return Text(broken, self.style).wrap(console, width, **options)


def pieces(word: str, width: int) -> list[str]:
    """Return a word in pieces of at most `width` letters, where its separators allow that.

    >>> pieces("runs/photos/model.onnx", 12)
    ['runs/photos/', 'model.onnx']
    """
    found = [""]
    for part in _PART.findall(word):
        if found[-1] and len(found[-1]) + len(part) > width:
            found.append("")
        found[-1] += part
    return found
