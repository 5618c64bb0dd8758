"""Figures as PNG files: how they are written, and how names are drawn in them."""

from __future__ import annotations

import functools
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, ParamSpec

from matplotlib import font_manager
from matplotlib.figure import Figure

from toolchain.files import atomic_file
from toolchain.printable import printable

Parameters = ParamSpec("Parameters")

FIRST_FAMILY = "DejaVu Sans"
"""The font that comes with matplotlib; others are asked for what it lacks."""
UNFIT_FAMILIES = ("last resort", "lastresort", "color emoji", "colour emoji")
"""Fonts that have boxes for all characters, or colour pictures that matplotlib can't draw."""
MOST_LETTERS = 28
"""Longer names are shortened in the middle, so that the names leave room for the figure."""


class DrawnNames(NamedTuple):
    """How names are written in a figure."""

    labels: list[str]
    """One for each name, all different. A number in front is the position of the name, from 1."""
    families: list[str]
    """Fonts for all labels together, the first that has a character draws it."""
    incomplete: bool
    """Whether a label lacks characters of its name, because no font has them."""


def without_warnings(draw: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Let a function draw without warnings, under `python -W error` too.

    What matplotlib warns of (a layout, a character) must not end a command that has trained.
    """

    @functools.wraps(draw)
    def quietly(*words: Parameters.args, **options: Parameters.kwargs) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            draw(*words, **options)

    return quietly


def save_figure(figure: Figure, path: Path, *, whole: bool = False) -> None:
    """Write a figure as PNG; an error leaves an older file as it was.

    `whole` makes the picture larger, or smaller, so that it has all that is drawn and no more.
    """
    box = "tight" if whole else None
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130, bbox_inches=box)


def drawn_names(names: Sequence[str], most_letters: int = MOST_LETTERS) -> DrawnNames:
    """Return labels for names of any script and length, without a box in place of a letter."""
    texts = [unicodedata.normalize("NFC", printable(name)).strip() for name in names]
    families, lacking = families_for(set("".join(texts)))
    # Joiners and variation selectors of emoji are invisible: nothing is lost with them.
    visible = {letter for letter in lacking if unicodedata.category(letter) not in ("Cf", "Mn")}
    labels, incomplete = [], False
    for number, text in enumerate(texts, start=1):
        shown = "".join(letter for letter in text if letter not in lacking).strip()
        lost = bool(visible & set(text))
        incomplete = incomplete or lost
        short = shortened(shown, most_letters)
        labels.append(f"{number}: {short}".strip(": ") if lost or not short else short)
    twice = {label for label, count in Counter(labels).items() if count > 1}
    labels = [f"{n}: {text}" if text in twice else text for n, text in enumerate(labels, start=1)]
    return DrawnNames(labels, families, incomplete)


def shortened(text: str, most_letters: int) -> str:
    """Return a text with its middle left out where it is longer than `most_letters`.

    >>> shortened("photographs of very old bridges", 16)
    'photogra…bridges'
    """
    if len(text) <= most_letters:
        return text
    end = (most_letters - 1) // 2
    return f"{text[: most_letters - 1 - end].rstrip()}…{text[-end:].lstrip()}"


def whole_ticks(first: int, last: int, most: int = 8) -> list[int]:
    """Return the first and the last number, and round ones between them, at most `most` in all.

    >>> whole_ticks(1, 60)
    [1, 10, 20, 30, 40, 50, 60]
    >>> whole_ticks(1, 3)
    [1, 2, 3]
    """
    span = last - first
    step = next(
        size
        for power in range(len(str(last)) + 1)
        for size in (10**power, 2 * 10**power, 5 * 10**power)
        if span <= size * (most - 1)
    )
    # A round number that is close to an end would touch its label.
    between = range(first - first % step + step, last, step)
    kept = [n for n in between if n - first >= step / 2 and last - n >= step / 2]
    return [first, *kept, last] if span else [first]


def families_for(letters: set[str]) -> tuple[list[str], set[str]]:
    """Return (the fonts that draw these letters together, the letters that no font has).

    Fonts of the system are opened only where the first one lacks a letter.
    """
    families, lacking = (
        [FIRST_FAMILY],
        letters - _covered(font_manager.findfont(FIRST_FAMILY), letters),
    )
    if not any(unicodedata.category(letter) not in ("Cf", "Mn") for letter in lacking):
        return families, lacking
    for family, path in _upright_fonts():
        if found := _covered(path, lacking):
            families.append(family)
            lacking -= found
        if not lacking:
            break
    return families, lacking


def _upright_fonts() -> Iterator[tuple[str, str]]:
    """Yield (family, path) of each family that is installed, its regular font first."""
    seen = {FIRST_FAMILY}
    entries = font_manager.fontManager.ttflist
    for entry in sorted(entries, key=lambda e: (e.style != "normal", abs(_weight(e) - 400))):
        unfit = any(words in entry.name.lower() for words in UNFIT_FAMILIES)
        if entry.name not in seen and not unfit:
            seen.add(entry.name)
            yield entry.name, entry.fname


def _weight(entry: font_manager.FontEntry) -> int:
    known = font_manager.weight_dict
    return entry.weight if isinstance(entry.weight, int) else known.get(entry.weight, 400)


def _covered(path: str, letters: set[str]) -> set[str]:
    """Return which of the letters a font file has; none where it can't be opened."""
    try:
        font = font_manager.get_font(path)
        return {letter for letter in letters if font.get_char_index(ord(letter))}
    except (OSError, RuntimeError):
        return set()
