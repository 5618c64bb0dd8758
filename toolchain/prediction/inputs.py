"""From what follows the model on the command line to images, one after the other.

Files, folders, patterns, lists of paths and standard input. Nothing is collected: the names of one
folder are sorted, and that is all that is held of a million files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, NamedTuple

from toolchain.data.layouts import IMAGE_SUFFIXES
from toolchain.errors import DataError, ImageError

STDIN = "-"
MAGIC = frozenset("*?[")
"""What makes a pattern of a name, where no file has that very name."""
CHUNK = 65536

Complain = Callable[[str, str], None]
"""Takes a place where images were looked for, and why there are none."""


class Found(NamedTuple):
    """An image that was found: what it is called, and where it is read from."""

    name: str
    source: Path | bytes


class Inputs:
    """The images that some inputs stand for; each pass looks for them anew.

    `words` are files, folders, patterns and `-`, the bytes of one image; `lists` are files of
    paths, `-` among them too. `complaints` has what could not be listed in the last pass.
    """

    def __init__(self, words: Sequence[str], lists: Sequence[str] = ()) -> None:
        if [*words, *lists].count(STDIN) > 1:
            raise DataError("standard input can be read once only")
        self.words, self.lists = words, lists
        self.complaints: list[ImageError] = []

    def __iter__(self) -> Iterator[Found]:
        self.complaints = []
        for word in self.words:
            if word == STDIN:
                yield Found(STDIN, sys.stdin.buffer.read())
            else:
                yield from _found(_expanded(word, self._complain))
        for name in self.lists:
            for line in _listed(name):
                yield from _found(_below(Path(line), self._complain))

    def count(self) -> int | None:
        """Count the images by looking at names alone; None where a list comes as it is written."""
        if STDIN in self.lists:
            return None
        words = [word for word in self.words if word != STDIN]
        return sum(1 for _ in Inputs(words, self.lists)) + len(self.words) - len(words)

    def _complain(self, place: str, reason: str) -> None:
        self.complaints.append(ImageError(f"{place}: {reason}"))


def images_below(folder: Path, complain: Complain) -> Iterator[Path]:
    """Return the images in a folder and below, sorted; hidden and linked folders are left out."""
    return (path for path, _ in _walk(folder, _is_image, sys.maxsize, complain))


def _found(paths: Iterable[Path]) -> Iterator[Found]:
    return (Found(str(path), path) for path in paths)


def _expanded(word: str, complain: Complain) -> Iterator[Path]:
    """Return what a word on the command line stands for."""
    path = Path(word)
    if not MAGIC & set(word) or os.path.lexists(path):
        return _below(path, complain)
    return _or_complain(_matching(path, complain), word, "no image matches", complain)


def _below(path: Path, complain: Complain) -> Iterator[Path]:
    """Return a file itself, whatever it is, or the images in a folder and below."""
    if not path.is_dir():
        return iter([path])
    return _or_complain(
        images_below(path, complain), str(path), "no images in this folder", complain
    )


def _or_complain(
    paths: Iterator[Path], place: str, reason: str, complain: Complain
) -> Iterator[Path]:
    empty = True
    for path in paths:
        empty = False
        yield path
    if empty:
        complain(place, reason)


def _matching(pattern: Path, complain: Complain) -> Iterator[Path]:
    """Yield the files that fit a pattern; `**` stands for any folders, or none."""
    parts = pattern.parts
    fixed = next(place for place, part in enumerate(parts) if MAGIC & set(part))
    root, wanted = Path(*parts[:fixed]), list(parts[fixed:])
    if wanted[-1] == "**":
        wanted.append("*")
    depth = sys.maxsize if "**" in wanted else len(wanted)
    # A pattern that ends with a suffix of its own says what is an image.
    is_wanted = _is_image if "." not in wanted[-1] else _is_shown
    for path, names in _walk(root, is_wanted, depth, complain):
        if _fits(names, wanted):
            yield path


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    """Say whether the names of a path fit the parts of a pattern.

    >>> _fits(["2026", "may", "a.jpg"], ["2026", "**", "*.jpg"])
    True
    """
    if not parts:
        return not names
    if parts[0] == "**":
        return _fits(names, parts[1:]) or (bool(names) and _fits(names[1:], parts))
    return bool(names) and fnmatchcase(names[0], parts[0]) and _fits(names[1:], parts[1:])


def _is_shown(name: str) -> bool:
    return not name.startswith(".")


def _is_image(name: str) -> bool:
    return _is_shown(name) and f".{name.rpartition('.')[2].lower()}" in IMAGE_SUFFIXES


def _walk(
    root: Path, wanted: Callable[[str], bool], depth: int, complain: Complain
) -> Iterator[tuple[Path, list[str]]]:
    """Yield (path, names from the root on) of the wanted files, as sorted paths would be.

    Linked folders are not gone into: they may lead back to where one came from.
    """
    # Of each folder that is open: its path, its names in order, which of them are folders.
    at: list[tuple[Path, Iterator[str], set[str]]] = [(root, *_contents(root, wanted, complain))]
    while at:
        folder, names, folders = at[-1]
        name = next(names, None)
        if name is None:
            at.pop()
        elif name not in folders:
            yield folder / name, [*(entry[0].name for entry in at[1:]), name]
        elif len(at) < depth:
            below = folder / name
            at.append((below, *_contents(below, wanted, complain)))


def _contents(
    folder: Path, wanted: Callable[[str], bool], complain: Complain
) -> tuple[Iterator[str], set[str]]:
    """Return the names in a folder that matter, sorted, and those among them that are folders."""
    files: list[str] = []
    folders: set[str] = set()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if _is_shown(entry.name):
                        folders.add(entry.name)
                elif wanted(entry.name) and _may_be_read(entry):
                    files.append(entry.name)
    except OSError as error:
        complain(str(folder), (error.strerror or str(error)).lower())
    files += folders
    files.sort()
    return iter(files), folders


def _may_be_read(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry is a file or should have been one; a pipe or a linked folder is not."""
    try:
        return entry.is_file() or (entry.is_symlink() and not Path(entry).exists())
    except OSError:  # a link to itself; reading it will say so
        return True


def _listed(name: str) -> Iterator[str]:
    """Yield the paths in a list: a line each, or each ended by a zero byte (`find -print0`)."""
    if name == STDIN:
        yield from _split(sys.stdin.buffer)
        return
    try:
        with Path(name).open("rb") as file:
            yield from _split(file)
    except OSError as error:
        raise DataError(f"{name}: {(error.strerror or str(error)).lower()}") from error


def _split(stream: IO[bytes]) -> Iterator[str]:
    read = getattr(stream, "read1", stream.read)  # what is there, without waiting for more
    held, separator = b"", b""
    while chunk := read(CHUNK):
        held += chunk
        if not separator:
            separator = b"\0" if b"\0" in held else b"\n" if b"\n" in held else b""
        if separator:
            *paths, held = held.split(separator)
            yield from _paths(paths)
    yield from _paths([held])


def _paths(lines: Iterable[bytes]) -> Iterator[str]:
    return (os.fsdecode(line) for line in (line.rstrip(b"\r") for line in lines) if line)
