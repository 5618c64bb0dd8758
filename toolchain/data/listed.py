"""Finds the image files that the lines of a list or the rows of a table name."""

from __future__ import annotations

import codecs
import unicodedata
from collections import defaultdict
from pathlib import Path, PurePosixPath

from toolchain.data.split_names import split_named
from toolchain.data.walk import is_image_name, walk_files
from toolchain.errors import DataError

SEARCH_DEPTH = 4
"""How many names below the list's folder a file may lie that is found by its name alone."""
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(file: Path, what: str) -> str:
    """Return the text of a list or table in UTF-8, or in UTF-16 with its mark.

    `what` is what the file should be, for the error. Raises DataError for another encoding and for
    a file that can't be read.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: {(error.strerror or str(error)).lower()}") from error
    try:
        return data.decode("utf-16" if data.startswith(UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not {what} in UTF-8", hint="save it again as UTF-8") from error


class ListedFiles:
    """The files that names in a list mean, as paths relative to the list's folder.

    A name that is no such path is looked for by its end: `1.jpg`, or `1` as the identifiers of many
    published tables, is `train/images/1.jpg` where no other image is called so.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.by_name = 0
        """How many files were found by their name alone."""
        self._index: dict[str, list[Path]] | None = None

    def find(self, name: str, split: str | None = None) -> Path | None:
        """Return the file that a name means, or None.

        Of several with that name the one in a folder named for `split` is meant. Raises DataError
        where that leaves several.
        """
        for text in dict.fromkeys((name, name.replace("\\", "/"))):
            if text and is_file(self.folder / text):
                return self.folder / text
        found = self._by_end(PurePosixPath(name.replace("\\", "/")))
        if len(found) > 1 and split is not None:
            found = [path for path in found if self._is_of(path, split)] or found
        if len(found) > 1:
            first, second = found[:2]
            raise DataError(
                f"{name!r} may be {first} or {second}", hint="write the paths with their folders"
            )
        self.by_name += len(found)
        return found[0] if found else None

    def _by_end(self, name: PurePosixPath) -> list[Path]:
        """Return the images whose path ends in a name, written with or without its ending."""
        if not name.name or name.is_absolute() or ".." in name.parts:
            return []
        wanted = tuple(map(_composed, name.parts))
        candidates = self._indexed().get(wanted[-1], [])
        return [path for path in candidates if self._parents(path, len(wanted) - 1) == wanted[:-1]]

    def _parents(self, path: Path, count: int) -> tuple[str, ...]:
        parents = path.relative_to(self.folder).parts[:-1]
        return tuple(map(_composed, parents[len(parents) - count :])) if count else ()

    def _is_of(self, path: Path, split: str) -> bool:
        return any(split_named(part) == split for part in path.relative_to(self.folder).parts[:-1])

    def _indexed(self) -> dict[str, list[Path]]:
        """Return file name, and file name without ending → the images below the folder."""
        if self._index is None:
            self._index = defaultdict(list)
            walked = walk_files(self.folder, is_image_name, depth=SEARCH_DEPTH)
            for path, _ in walked:
                for key in {_composed(path.name), _composed(path.stem)}:
                    self._index[key].append(path)
        return self._index


def is_file(path: Path) -> bool:
    """Return whether a path is a file; texts that are no paths are none."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long for a name, or with a zero byte
        return False


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)
