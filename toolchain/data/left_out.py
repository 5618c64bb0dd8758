"""What was seen and not used, counted by place, kind and reason: no file is lost silently."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from toolchain.files import unicode_name
from toolchain.printable import printable

Kind = str
"""An ending such as `.heic`, or "no ending"; else "file", "image", "folder" or "line"."""
NO_ENDING = "no ending"
Reason = Literal[
    "no image by its ending",
    "hidden",
    "a link to a folder",
    "not a regular file",
    "can't be listed",
    "in no class folder",
    "no split by its name",
    "another one for its split",
    "a class without images",
    "in no list",
    "without labels",
    "a comment",
    "excluded by the list",
]
WORDS: dict[str, tuple[str, str]] = {
    "a link to a folder": ("link to a folder, not followed", "links to folders, not followed"),
    "not a regular file": ("pipe, socket or device", "pipes, sockets or devices"),
    "can't be listed": ("folder that can't be listed", "folders that can't be listed"),
    "in no class folder": ("image in no class folder", "images in no class folder"),
    "no split by its name": ("folder beside the splits", "folders beside the splits"),
    "another one for its split": (
        "further folder or file for a split that has one",
        "further folders or files for splits that have one",
    ),
    "a class without images": ("class without images", "classes without images"),
    "in no list": ("image that no line names", "images that no line names"),
    "without labels": ("table without labels", "tables without labels"),
    "a comment": ("comment line", "comment lines"),
    "excluded by the list": ("image on the list of --exclude", "images on the list of --exclude"),
}
"""Reason → what is left out for it, one and several; those that are missing depend on the kind."""
HEIC_ENDINGS = frozenset((".heic", ".heif", ".hif", ".heics", ".heifs"))
RAW_ENDINGS = frozenset((
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mef",
    ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf",
    ".srw", ".x3f",
))  # fmt: skip
PLACES_SHOWN = 4
"""How many places a line shows for files that are no images by their ending."""
DOCUMENT_ENDINGS = frozenset((
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".pdf", ".yaml",
    ".yml", ".toml", ".ini", ".log",
))  # fmt: skip
LONGEST_ENDING = 12
"""In characters; a longer one is part of a name."""
HEIC_REMEDY = 'pip install "rtl-toolchain[heif]" reads .heic, or convert them to JPEG'


class LeftOut(msgspec.Struct, frozen=True):
    """Files or folders of one kind in one place that were left out for one reason."""

    place: str
    """The folder or list, relative to the data set's folder, which is `.` itself."""
    kind: Kind
    reason: str
    """One of `Reason`, or one of a later version."""
    count: int
    first: str
    """The name of the first, relative to the data set's folder."""


class Account:
    """Counts what is left out; `entries` returns it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.count = 0
        self._first: dict[tuple[str, Kind, Reason], str] = {}
        self._counts: dict[tuple[str, Kind, Reason], int] = defaultdict(int)

    def add(self, path: Path, kind: Kind, reason: Reason, *, place: Path | None = None) -> None:
        """Count one; `place` is the folder it counts for, by default the one it lies in."""
        name = self._name(path)
        key = (self._name(place or path.parent), kind, reason)
        self._first[key] = min(name, self._first.get(key, name))
        self._counts[key] += 1
        self.count += 1

    def entries(self) -> tuple[LeftOut, ...]:
        """Return what was counted, by place, reason and kind."""
        return tuple(
            LeftOut(place, kind, reason, self._counts[place, kind, reason], first)
            for (place, kind, reason), first in sorted(self._first.items())
        )

    def _name(self, path: Path) -> str:
        inside = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        return unicode_name(inside.as_posix())


def ending_of(name: str) -> Kind:
    """Return the ending of a file's name in small letters, or "no ending".

    >>> ending_of("IMG_1.HEIC"), ending_of("README")
    ('.heic', 'no ending')
    """
    # Of what is no word, such as the end of a sentence, no kind is made.
    ending = os.path.splitext(name)[1].lower()  # noqa: PTH122  # a name is no path
    is_word = 1 < len(ending) <= LONGEST_ENDING and ending[1:].isalnum()
    return ending if is_word else NO_ENDING


def is_clutter(entry: LeftOut) -> bool:
    """Return whether an entry is of files that nobody takes for images.

    These are `.DS_Store`, `Thumbs.db` and the like, and a README beside the folders.
    """
    is_document = entry.place == "." and entry.kind in DOCUMENT_ENDINGS
    return is_document or (entry.reason == "hidden" and entry.kind == "file")


def left_out_lines(left_out: Iterable[LeftOut]) -> list[str]:
    """Return a line for each reason, with the number of each kind and the first name.

    Clutter has none.
    """
    by_reason: dict[str, list[LeftOut]] = defaultdict(list)
    for entry in left_out:
        if not is_clutter(entry):
            by_reason[entry.reason].append(entry)
    return [_line(reason, entries) for reason, entries in by_reason.items()]


def left_out_summary(left_out: Iterable[LeftOut]) -> str:
    """Return the number of each kind, the most frequent first.

    >>> left_out_summary([LeftOut("cat", ".heic", "no image by its ending", 9, "cat/1.heic")])
    '9 .heic'
    """
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for entry in left_out:
        counts[_words(entry)] += entry.count
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {words[count > 1]}" for words, count in ordered)


def remedy_for(left_out: Iterable[LeftOut]) -> str:
    """Return what makes files that were left out readable; empty where nothing is known."""
    kinds = {entry.kind for entry in left_out if entry.reason == "no image by its ending"}
    if kinds & HEIC_ENDINGS:
        return HEIC_REMEDY
    return "convert camera files to JPEG" if kinds & RAW_ENDINGS else ""


def _words(entry: LeftOut) -> tuple[str, str]:
    """Return what an entry counts, for one and for several."""
    if entry.reason == "no image by its ending":
        name = entry.kind if entry.kind != NO_ENDING else "without an ending"
        return name, name
    if entry.reason == "hidden":
        return f"hidden {entry.kind}", f"hidden {entry.kind}s"
    return WORDS.get(entry.reason, (entry.reason, entry.reason))


def _line(reason: str, entries: list[LeftOut]) -> str:
    first = printable(min(entry.first for entry in entries))
    summary = left_out_summary(entries)
    if reason != "no image by its ending":
        return f"left out {summary}: {'' if _total(entries) == 1 else 'first '}{first}"
    shown = [f"{e.count:,} {_words(e)[0]} in {printable(e.place)}" for e in entries[:PLACES_SHOWN]]
    more = ["…"] if len(entries) > PLACES_SHOWN else []
    remedy = remedy_for(entries)
    return (
        f"left out as no images by their ending: {summary} ({', '.join([*shown, *more])}), "
        f"first {first}" + (remedy and f"; {remedy}")
    )


def _total(entries: Iterable[LeftOut]) -> int:
    return sum(entry.count for entry in entries)
