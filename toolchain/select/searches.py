"""The folder of searches that were stopped, in the user's cache: their finished trainings.

    <cache>/searches/<key>/search.json

A file that is damaged or of another key is not used. A search that ends removes its own; of those
that never went on the longest unused are removed. Nothing here needs torch, so that `rtl cache`
runs where it is not installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path
from typing import Any

import msgspec

from toolchain.files import UNREADABLE, encode_json, write_bytes
from toolchain.runtime.cachefolder import (
    CacheEntry,
    PrivateFolder,
    Removed,
    by_last_use,
    cache_folder,
    entry_bytes,
    last_used,
    record_bytes,
    remove_all,
    remove_longest_unused,
)

SCHEMA = 1
"""Part of each key. Raise it when folds, trainings or candidates are made in another way."""
MOST_BYTES = 50_000_000
"""What all stopped searches together may take; one of 1,000 images takes 40 kB."""


class SearchKey(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a search depends on."""

    asked: dict[str, str]
    """What asked for it: `budget`, or `try`."""
    settings_sha256: str
    given: tuple[str, ...]
    """The settings that were given and so are not chosen."""
    images_sha256: str
    """Over content, labels and fold of each image, and the names of the classes."""
    weights_sha256: str
    versions: dict[str, str]
    device: str
    threads: int
    schema: int = SCHEMA


class FoldResult(msgspec.Struct, frozen=True, kw_only=True):
    """A training without a fold, and on which of that fold's images it was right."""

    trial: str
    settings_sha256: str
    fold: int
    right: str
    """`1` or `0` for each image of the fold."""
    seconds: float


class SearchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What a search has finished."""

    key: SearchKey
    elapsed_s: float = 0.0
    """From the start of the command until the last of it was finished."""
    pass_s: float = 0.0
    """What a pass of the training images through the network takes."""
    probes: tuple[dict[str, Any], ...] = ()
    """The linear probes, the fields of `Probe`; `right` as texts like those of a FoldResult."""
    results: tuple[FoldResult, ...] = ()
    soups: dict[str, dict[int, str]] = {}
    """Layers that are trained → fold → on which of its images the average of those was right."""


class StoppedSearch(CacheEntry, frozen=True, kw_only=True):
    """The entry of a search and the space that it takes."""


def searches_folder() -> Path:
    """Return the folder of all entries, which may not exist yet."""
    return cache_folder() / "searches"


def entries() -> list[StoppedSearch]:
    """Return the stopped searches, the longest unused first."""
    found = searches_folder().glob("*/search.json")
    return by_last_use(
        StoppedSearch(folder=file.parent, bytes=entry_bytes(file.parent), used=last_used(file))
        for file in found
    )


def clear() -> Removed:
    """Remove all stopped searches, and return what came of it."""
    return remove_all(searches_folder(), entries())


class SearchEntry:
    """The entry of one search. Raises OSError where nothing can be kept."""

    def __init__(self, key: SearchKey) -> None:
        self.key = key
        name = hashlib.sha256(encode_json(key, order="sorted")).hexdigest()[:20]
        self._cache = PrivateFolder(searches_folder())
        self._folder = self._cache.place / name

    def read(self) -> SearchRecord | None:
        """Return what was finished; None where nothing was, or it can't be used."""
        try:
            file = self._folder / "search.json"
            record = msgspec.json.decode(record_bytes(file), type=SearchRecord)
        except UNREADABLE:
            return None
        return record if record.key == self.key else None

    def write(self, record: SearchRecord) -> None:
        """Keep what is finished, where that is possible."""
        with contextlib.suppress(OSError):
            write_bytes(self._folder / "search.json", encode_json(record), private=True)
            others = [e for e in entries() if e.folder.name != self._folder.name]
            over = sum(entry.bytes for entry in others) + entry_bytes(self._folder) - MOST_BYTES
            remove_longest_unused(others, over)

    def remove(self) -> None:
        """Remove the entry."""
        shutil.rmtree(self._folder, ignore_errors=True)
