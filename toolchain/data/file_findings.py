"""What can be wrong, or unusual, with one file that is readable: the kinds, and what to do."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

What = Literal[
    "ends early",
    "another format than its ending",
    "unusual mode",
    "EXIF-rotated",
    "animated",
    "tiny",
    "extreme aspect",
    "too dark",
    "too light",
    "near-uniform",
    "blurred",
    "similar name",
]
KINDS: tuple[What, ...] = get_args(What)
"""In the order in which they are shown."""
SUGGESTIONS: dict[What, str] = {
    "ends early": "replace: the end of the file is missing, though its pixels are there",
    "another format than its ending": "rename: rtl goes by the content, other programs may not",
    "unusual mode": "keep: rtl converts it, in training and on the device alike",
    "EXIF-rotated": "keep: rtl applies the orientation",
    "animated": "keep: the first frame is used",
    "tiny": "look: it is enlarged to the size of the network",
    "extreme aspect": "look: a crop of the middle leaves little of it",
    "too dark": "look",
    "too light": "look",
    "near-uniform": "look: it shows nothing",
    "blurred": "look",
    "similar name": "rename: one of them is lost on a system that takes the names for one",
}
"""Kind → what to do; the first word says whether to look at it, or to keep it as it is."""
SMALL_SIDE = 64
"""Images with a short side below this, in pixels, are counted as small."""
TINY_SIDE = 32
"""Images with a short side below this, in pixels, are called tiny."""
EXTREME_ASPECT = 3.0
"""The long side over the short one, from which on a crop of the middle leaves a third or less."""
FORMAT_ENDINGS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo", ".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "BMP": (".bmp", ".dib"),
    "DIB": (".dib", ".bmp"),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
    "AVIF": (".avif", ".avifs"),
    "ICO": (".ico",),
    "HEIF": (".heic", ".heif", ".hif", ".heics", ".heifs"),
}
"""Pillow's name of a format → the endings that its files have."""


class FileFinding(msgspec.Struct, frozen=True):
    """Something about one readable file."""

    file: str
    what: str
    """One of `What`, or one of a later version."""
    detail: str
    """The figures or names that show it, for a person."""


def format_finding(ending: str, format: str) -> tuple[What, str] | None:
    """Return the finding of a file with this ending (in any case) and Pillow's name of its format.

    >>> format_finding(".JPG", "PNG")
    ('another format than its ending', 'a PNG called .jpg')
    """
    usual = FORMAT_ENDINGS.get(format, ())
    if not usual or not ending or ending.lower() in usual:
        return None
    return "another format than its ending", f"a {format} called {ending.lower()}"


def size_findings(width: int, height: int) -> list[tuple[What, str]]:
    """Return the findings of an image of this size in pixels."""
    found: list[tuple[What, str]] = []
    short, long = sorted((width, height))
    if short < TINY_SIDE:
        found.append(("tiny", f"{width} × {height} pixels"))
    if long >= EXTREME_ASPECT * short:
        found.append(("extreme aspect", f"{width} × {height} pixels"))
    return found


def similar_names(names: Iterable[str]) -> list[FileFinding]:
    """Return a finding for each file whose name another one has in another spelling.

    They lie in one folder, and differ in case, blanks or the form of their Unicode letters only.
    """
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        folder, _, own = name.rpartition("/")
        groups[folder, _spelling(own)].append(name)
    return [
        FileFinding(name, "similar name", f"like {(group[0] if name != group[0] else group[1])!r}")
        for group in groups.values()
        if len(group) > 1
        for name in group
    ]


def _spelling(name: str) -> str:
    folded = unicodedata.normalize("NFC", name).casefold()
    return "".join(c for c in folded if not c.isspace() and unicodedata.category(c) != "Cf")
