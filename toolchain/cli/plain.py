"""Text from files of unknown origin, made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text with a space for each character that could move the cursor or end the line.

    >>> printable("one\\x1b[2J\\nline")
    'one [2J line'
    """
    return "".join(letter if letter.isprintable() else " " for letter in text)
