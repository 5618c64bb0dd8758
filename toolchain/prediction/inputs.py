"""From the inputs of `rtl predict` to images, one after the other.

Inputs are files, folders, patterns, lists of paths and standard input. The search is lazy: at any
time it holds the sorted names of the open folders, never all paths of a million files.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from toolchain.data.left_out import Account, Kind, LeftOut, Reason, left_out_summary
from toolchain.data.walk import images_under, is_image_name, is_visible, walk_files
from toolchain.errors import DataError, ImageError
from toolchain.files import is_folder

STDIN = "-"
WILDCARDS = frozenset("*?[")
"""A name with one of these is a pattern, unless a file has exactly this name."""
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
READ_BYTES = 65536
"""A list of paths is read in pieces of at most this size."""


class InputImage(NamedTuple):
    """An image to predict: its name in the output, and the file or bytes to read."""

    name: str
    source: Path | bytes


class Inputs:
    """The images that some inputs name; each iteration searches for them anew.

    `words` are files, folders, patterns and `-`, the bytes of one image; `lists` are files of
    paths, where `-` is standard input; with `null` each path in them ends with a zero byte. Raises
    DataError where standard input is given twice.
    """

    def __init__(
        self, words: Sequence[str], lists: Sequence[str] = (), *, null: bool = False
    ) -> None:
        if [*words, *lists].count(STDIN) > 1:
            raise DataError("standard input can be read once only")
        self.words, self.lists, self.null = words, lists, null
        self.not_found: list[ImageError] = []
        """Folders that can't be listed, and inputs without any image, of the last iteration."""
        self._account = Account(Path())

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What the last iteration saw in folders and passed over."""
        return self._account.entries()

    def __iter__(self) -> Iterator[InputImage]:
        self.not_found = []
        self._account = Account(Path())
        for word in self.words:
            if word == STDIN:
                yield InputImage(STDIN, _standard_input().read())
            else:
                yield from self._expanded(word)
        for name in self.lists:
            for path in _paths_in_list(name, null=self.null):
                yield from self._file_or_folder(path)

    def count(self) -> int | None:
        """Count the images by name, without opening them; None where standard input is a list."""
        if STDIN in self.lists:
            return None
        words = [word for word in self.words if word != STDIN]
        images = Inputs(words, self.lists, null=self.null)
        return sum(1 for _ in images) + len(self.words) - len(words)

    def _expanded(self, word: str) -> Iterator[InputImage]:
        """Return the files that a word on the command line names."""
        path = Path(word)
        if not WILDCARDS & set(word) or os.path.lexists(path):
            return self._file_or_folder(word)
        return _named(self._or_not_found(self._matching(path), word, "no image matches"))

    def _file_or_folder(self, text: str) -> Iterator[InputImage]:
        """Return a file itself, by the name it was given, or the images in a folder and below."""
        path = Path(text)
        if not is_folder(path):
            return iter([InputImage(text, path)])
        images = images_under(
            path,
            special_files=False,
            on_unlisted=self._add_unlisted,
            on_left_out=partial(self._account.add, place=path),
        )
        return _named(self._or_not_found(images, str(path), "no images in this folder"))

    def _matching(self, pattern: Path) -> Iterator[Path]:
        """Yield the files that match a pattern; `**` matches any number of folders."""
        parts = pattern.parts
        fixed = next(index for index, part in enumerate(parts) if WILDCARDS & set(part))
        root, wildcards = Path(*parts[:fixed]), list(parts[fixed:])
        if wildcards[-1] == "**":
            wildcards.append("*")

        def leave_out(path: Path, kind: Kind, reason: Reason) -> None:
            if _matches(path.relative_to(root).parts, wildcards):
                self._account.add(path, kind, reason, place=pattern)

        walked = walk_files(
            root,
            # A pattern that ends in a suffix decides by itself which files are images.
            is_visible if "." in wildcards[-1] else is_image_name,
            depth=sys.maxsize if "**" in wildcards else len(wildcards),
            special_files=False,
            on_unlisted=self._add_unlisted,
            on_left_out=leave_out,
        )
        return (path for path, names in walked if _matches(names, wildcards))

    def _or_not_found(self, paths: Iterator[Path], place: str, reason: str) -> Iterator[Path]:
        """Yield the paths; where there are none, add the place to `not_found`."""
        empty = True
        for path in paths:
            empty = False
            yield path
        if empty:
            passed_over = [
                entry for entry in self.left_out if entry.place == Path(place).as_posix()
            ]
            hint = f"passed over: {left_out_summary(passed_over)}" if passed_over else None
            self.not_found.append(ImageError(f"{place}: {reason}", hint=hint))

    def _add_unlisted(self, folder: Path, error: OSError) -> None:
        self.not_found.append(ImageError(f"{folder}: {(error.strerror or str(error)).lower()}"))


def _named(paths: Iterable[Path]) -> Iterator[InputImage]:
    return (InputImage(str(path), path) for path in paths)


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether the names of a path match the parts of a pattern.

    >>> _matches(["2026", "may", "a.jpg"], ["2026", "**", "*.jpg"])
    True
    """
    if not pattern:
        return not names
    if pattern[0] == "**":
        return _matches(names, pattern[1:]) or (bool(names) and _matches(names[1:], pattern))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])


def _paths_in_list(name: str, *, null: bool) -> Iterator[str]:
    """Yield the paths in a list: one a line, or each ended by a zero byte (`find -print0`)."""
    if name == STDIN:
        yield from _separated(_standard_input(), null=null)
        return
    try:
        with Path(name).open("rb") as file:
            yield from _separated(file, null=null)
    except OSError as error:
        raise DataError(f"{name}: {(error.strerror or str(error)).lower()}") from error


def _standard_input() -> IO[bytes]:
    """Return standard input as bytes. Raises DataError where it is closed (`<&-`)."""
    if sys.stdin is None:  # so Python sets it where the descriptor is closed
        raise DataError("standard input is closed; there is nothing to read from it")
    return sys.stdin.buffer


def _separated(stream: IO[bytes], *, null: bool) -> Iterator[str]:
    """Yield each path as soon as its end was read; the first separator met is that of the list."""
    # read1 returns the bytes that are there, so that a slow producer is not waited for.
    read = getattr(stream, "read1", stream.read)
    rest = _beginning(read)
    if rest.startswith(UTF_16):
        rest = (rest + stream.read()).decode("utf-16", "replace").encode()
    separator = b"\0" if null else b""
    data = rest.removeprefix(codecs.BOM_UTF8)
    rest = b""
    while data:
        rest += data
        if not separator:
            separator = b"\0" if b"\0" in rest else b"\n" if b"\n" in rest else b""
        if separator:
            *paths, rest = rest.split(separator)
            yield from _decoded(paths, separator)
        data = read(READ_BYTES)
    yield from _decoded([rest], separator)


def _beginning(read: Callable[[int], bytes]) -> bytes:
    """Return the first bytes of a stream, at least as many as a byte order mark has."""
    data = b""
    while len(data) < len(codecs.BOM_UTF8) and (more := read(READ_BYTES)):
        data += more
    return data


def _decoded(paths: Iterable[bytes], separator: bytes) -> Iterator[str]:
    for path in paths:
        name = path if separator == b"\0" else _without_return(path)
        if name:
            yield os.fsdecode(name)


def _without_return(path: bytes) -> bytes:
    """Return a line without the carriage return of Windows, unless a file's name ends with one."""
    line = path.removesuffix(b"\r")
    return path if line != path and os.path.lexists(path) and not os.path.lexists(line) else line
