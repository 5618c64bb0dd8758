"""Texts of files that are not ours, made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text without what would move a terminal's cursor or begin another line.

    >>> printable("one\\x1b[2J\\nline")
    'one [2J line'
    """
    return "".join(letter if letter.isprintable() else " " for letter in text)
