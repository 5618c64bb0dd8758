"""The cache of features on the disk: one folder for each frozen network and kind of view.

    <cache>/features/<key>/about.json      the key, as JSON
                           index.json      the number of the row of each image and view
                           rows-<n>.f16    float16 [rows, …], little-endian, read by memory mapping

The key is a digest of all that the rows depend on apart from the images: weights, boundary,
preprocessing, augmentation, data set, and the schema of the cache. A row is named by the sha256 of
its image file and the number of the view, so a changed file gets a new row. Rows are never
overwritten, so a run that still reads an old row reads the right values. When more rows are out of
date than in use, those in use are copied to a new file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.errors import TrainingError
from toolchain.files import display_path, write_json
from toolchain.progress import ProgressReporter
from toolchain.runtime.cachefolder import (
    CacheEntry,
    by_last_use,
    cache_folder,
    entry_bytes,
    last_used,
    remove_all,
    remove_longest_unused,
)

SCHEMA = 2
"""Part of each key, so that rows of another number are not used. Raise it when what a row holds
changes, or how it is computed (decoding, preprocessing, augmentation, networks)."""
SPARE_BYTES = 500_000_000
"""Free space that the cache leaves on the disk: the run folder needs some too."""

Features = NDArray[np.float16]


class CacheKey(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the rows of an entry depend on, apart from the images."""

    data: str
    """The folder of the data set."""
    arch: str
    boundary: str
    """The first part of the network that is trained."""
    weights_sha256: str
    preprocessing: dict[str, Any]
    view: str
    """`clean`, or the augmentation preset and its seed."""
    shape: tuple[int, ...]
    """The shape of one row."""
    schema: int = 1
    """The SCHEMA of the rtl that computed the rows; the first entries did not name it."""

    @property
    def row_bytes(self) -> int:
        """The size of a row in bytes."""
        return int(np.prod(self.shape)) * 2


class _Index(msgspec.Struct):
    file: str
    rows: dict[str, int]


class KeptFeatures(CacheEntry, frozen=True, kw_only=True):
    """An entry and the space that it takes."""

    key: CacheKey
    rows: int


def features_folder() -> Path:
    """Return the folder of all entries, which may not exist yet."""
    return cache_folder() / "features"


def entries() -> list[KeptFeatures]:
    """Return the entries, the longest unused first."""
    found = []
    for record in features_folder().glob("*/about.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found.append(_kept_features(record))
    return by_last_use(found)


def clear() -> int:
    """Remove all kept features, and return how many bytes they took."""
    return remove_all(features_folder(), entries())


def free_space(needed: int, limit: int, keep: Sequence[Path], progress: ProgressReporter) -> bool:
    """Remove the longest unused entries until `needed` more bytes fit; return whether they do.

    Afterwards all entries together take at most `limit` bytes, and SPARE_BYTES of the disk stay
    free. `keep` are the folders of this run's entries: they count, but are not removed. Nothing is
    removed where that would not be enough.
    """
    present = entries()
    removable = [entry for entry in present if entry.folder not in keep]
    over_limit = needed + sum(entry.bytes for entry in present) - limit
    over_disk = needed - (_free_bytes(features_folder()) - SPARE_BYTES)
    bytes_to_free = max(over_limit, over_disk)
    if bytes_to_free > sum(entry.bytes for entry in removable):
        return False
    for removed in remove_longest_unused(removable, bytes_to_free):
        progress.message(f"removed the features of {removed.key.data} to make room")
    return True


class Entry:
    """The rows of one key, in their folder."""

    def __init__(self, key: CacheKey) -> None:
        self.key = key
        text = msgspec.json.encode(key, order="sorted")
        self.folder = features_folder() / hashlib.sha256(text).hexdigest()[:20]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the names of which there is no row yet, each once."""
        present = self._index().rows
        return [name for name in dict.fromkeys(names) if name not in present]

    def new_bytes(self, names: Iterable[str]) -> int:
        """Return the size in bytes of the rows that are missing."""
        return len(self.missing(names)) * self.key.row_bytes

    def remove(self) -> None:
        """Remove all rows."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def writing(self, names: Sequence[str], progress: ProgressReporter) -> Iterator[FeatureWriter]:
        """Yield the writer of the missing rows, under a lock: one process at a time writes it.

        `names` are all rows that this run needs; see `_compacted`.
        """
        # Imported here, because it is not installed on a device, where `rtl cache` runs too.
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.message("another run computes the same features; waiting for it")
            lock.acquire()
        try:
            write_json(self.folder / "about.json", self.key)
            index = self._compacted(names)
            writer = FeatureWriter(
                self, index, [n for n in dict.fromkeys(names) if n not in index.rows]
            )
            try:
                yield writer
            finally:
                writer.close()
        finally:
            lock.release()

    def read(self, names: Sequence[str]) -> tuple[Features, NDArray[np.int64]]:
        """Return (all rows, memory-mapped float16 [rows, …]; the row's number of each name)."""
        os.utime(self.folder / "about.json")
        index = self._index()
        return self._map(index.file), np.array([index.rows[name] for name in names])

    def _index(self) -> _Index:
        """Return the index; an empty one where it or rows that it names are missing or damaged."""
        try:
            index = msgspec.json.decode((self.folder / "index.json").read_bytes(), type=_Index)
            rows = (self.folder / index.file).stat().st_size // self.key.row_bytes
        except (FileNotFoundError, msgspec.DecodeError):
            return _Index("rows-1.f16", {})
        return index if rows > max(index.rows.values(), default=-1) else _Index(index.file, {})

    def _map(self, file: str) -> Features:
        path = self.folder / file
        count = path.stat().st_size // self.key.row_bytes
        return np.memmap(path, dtype="<f2", mode="r", shape=(count, *self.key.shape))

    def _compacted(self, names: Sequence[str]) -> _Index:
        """Return the index, after copying the rows in use to a new file if more are out of date.

        Rows in use are those in `names`.
        """
        index = self._index()
        wanted = set(names)
        used = {name: row for name, row in index.rows.items() if name in wanted}
        if len(index.rows) - len(used) <= len(wanted):
            return index
        number = int(index.file.split("-")[1].split(".")[0]) + 1
        compacted = _Index(f"rows-{number}.f16", dict(zip(used, range(len(used)), strict=True)))
        with (self.folder / compacted.file).open("wb") as file:
            if used:
                rows = self._map(index.file)
                for row in used.values():
                    file.write(rows[row].tobytes())
        write_json(self.folder / "index.json", compacted)
        with contextlib.suppress(OSError):  # Windows: another run has the file open
            (self.folder / index.file).unlink()
        return compacted


class FeatureWriter:
    """Appends rows as they are computed, and adds them to the index every few seconds."""

    KEEP_EVERY_S = 5.0

    def __init__(self, entry: Entry, index: _Index, missing: list[str]) -> None:
        self.entry, self.index, self.missing = entry, index, missing
        # Rows that a killed run wrote without adding them to the index are overwritten.
        self.first = max(index.rows.values(), default=-1) + 1
        self.done: dict[str, int] = {}
        self.saved_at = time.monotonic()
        path = entry.folder / index.file
        path.touch()
        # Written as a file, although it is read by memory mapping: on a full disk that raises an
        # error, while a write into mapped memory would kill the process.
        self.file = path.open("r+b")
        self.file.seek(self.first * entry.key.row_bytes)

    def put(self, features: NDArray[np.float32]) -> None:
        """Append the next missing row, float32 of the key's shape.

        Raises Unstorable where float16 can't hold it.
        """
        with np.errstate(over="ignore"):
            row = features.astype("<f2")
        if not np.isfinite(row).all():
            raise Unstorable("a feature is larger than float16 can hold")
        self.file.write(row.tobytes())
        number = len(self.done)
        self.done[self.missing[number]] = self.first + number
        if time.monotonic() - self.saved_at > self.KEEP_EVERY_S:
            self.keep()

    def keep(self) -> None:
        """Add the finished rows to the index on the disk."""
        self.file.flush()
        if self.done:
            self.index.rows.update(self.done)
            write_json(self.entry.folder / "index.json", self.index)
        self.saved_at = time.monotonic()

    def close(self) -> None:
        """Add the finished rows to the index, and close the file."""
        try:
            self.keep()
        finally:
            self.file.close()


class Unstorable(TrainingError):
    """The features can't be stored; the run computes them in each epoch instead."""


def display_folder() -> str:
    """Return the folder of the features for messages; see `display_path`."""
    return display_path(features_folder())


def _kept_features(record: Path) -> KeptFeatures:
    folder = record.parent
    index = folder / "index.json"
    rows = msgspec.json.decode(index.read_bytes(), type=_Index).rows if index.is_file() else {}
    return KeptFeatures(
        folder=folder,
        bytes=entry_bytes(folder),
        used=last_used(record),
        key=msgspec.json.decode(record.read_bytes(), type=CacheKey),
        rows=len(rows),
    )


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
