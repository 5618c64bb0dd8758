"""What a class is called: one spelling for each name, and names that are easily mistaken."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from toolchain.files import unicode_name

LabelledPaths = list[tuple[Path, tuple[str, ...]]]
"""Images with the names of their classes, which become indices once all classes are known."""
SHOWN = 5
"""How many names a line shows; it counts the others."""
LONGEST_TEXT = 400
"""In characters."""


def class_name(text: str) -> str:
    """Return the name of a class in NFC, in which each letter with an accent is one character.

    macOS writes `é` as two characters (NFD), most other systems as one: both are the same class.
    Bytes of a folder's name that are not UTF-8 become `\\udcff`, as a name has to be a text.
    """
    return unicodedata.normalize("NFC", unicode_name(text))


def shortened(text: str) -> str:
    """Return a text for an error: its beginning, where it is longer than a path may be."""
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def class_names(images: LabelledPaths) -> set[str]:
    """Return the names of all classes that some image has."""
    return {name for _, names in images for name in names}


def look_alike(name: str) -> str:
    """Return a text that is equal for names that differ in case, blanks or letter forms only.

    >>> look_alike("Ice cream ") == look_alike("ice_cream")
    True
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(
        letter
        for letter in folded
        if not letter.isspace() and letter != "_" and unicodedata.category(letter) != "Cf"
    )


def similar_names(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of names that differ in case, blanks or letter forms only."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        groups[look_alike(name)].append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def some_of(names: Iterable[str]) -> str:
    """Return the first names with commas between them, and how many more there are."""
    listed = list(names)
    more = len(listed) - SHOWN
    return ", ".join(listed[:SHOWN]) + (f" and {more} more" if more > 0 else "")
