"""The cache of features on the disk: one folder for each frozen network and kind of view.

    <cache>/features/<key>/about.json      the key, as JSON
                           index.json      row and checksum of each image and view
                           rows-<n>.f16    float16 [rows, …], little-endian, read by memory mapping

The key is a digest of all that the rows depend on apart from the images: weights, boundary,
preprocessing, augmentation, data set, and the schema of the cache. A row is named by the sha256 of
its image file and the number of the view, so a changed file gets a new row. Rows are never
overwritten, so a run that still reads an old row reads the right values. When more rows are out of
date than in use, those in use are copied to a new file. A row whose checksum differs from that in
the index is computed again. The folder is this user's alone: whoever can write rows can train
another model than the user wants.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.files import UNREADABLE, display_path, encode_json, write_json
from toolchain.progress import ProgressReporter
from toolchain.runtime.cachefolder import (
    CacheEntry,
    PrivateFolder,
    Removed,
    by_last_use,
    cache_folder,
    entry_bytes,
    last_used,
    remove_all,
    remove_longest_unused,
)
from toolchain.training.features.writer import Features, Index, Unstorable, read_index
from toolchain.training.features.writer import FeatureWriter as FeatureWriter

SCHEMA = 3
"""Part of each key, so that rows of another number are not used. Raise it when what a row holds
changes, or how it is computed (decoding, preprocessing, augmentation, networks)."""
SPARE_BYTES = 500_000_000
"""Free space that the cache leaves on the disk: the run folder needs some too."""


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
        with contextlib.suppress(*UNREADABLE):
            found.append(_kept_features(record))
    return by_last_use(found)


def clear() -> Removed:
    """Remove all kept features, and return what came of it."""
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
        """Raises OSError where nothing can be kept, or others could write to it."""
        self.key = key
        name = hashlib.sha256(encode_json(key, order="sorted")).hexdigest()[:20]
        self._cache = PrivateFolder(features_folder())
        self.folder = features_folder() / name
        """The folder of the entry, for messages and comparisons."""
        self._place = self._cache.place / name
        self._checked: set[tuple[str, int]] = set()
        """File and number of each row whose checksum was right."""

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return the names of which there is no intact row yet, each once."""
        index = self._index()
        intact = self._intact(index, names)
        return [name for name in dict.fromkeys(names) if name not in intact]

    def _intact(self, index: Index, names: Iterable[str]) -> set[str]:
        """Return which of the names have a row that matches its checksum."""
        wanted = {name: index.rows[name] for name in names if name in index.rows}
        if not wanted:
            return set()
        rows = self._map(index.file)
        intact = set()
        for name, number in wanted.items():
            if (index.file, number) in self._checked or index.sums.get(name) == zlib.crc32(
                rows[number].tobytes()
            ):
                self._checked.add((index.file, number))
                intact.add(name)
        return intact

    def new_bytes(self, names: Iterable[str]) -> int:
        """Return the size in bytes of the rows that are missing."""
        return len(self.missing(names)) * self.key.row_bytes

    def remove(self) -> None:
        """Remove all rows."""
        shutil.rmtree(self._place, ignore_errors=True)

    @contextlib.contextmanager
    def writing(self, names: Sequence[str], progress: ProgressReporter) -> Iterator[FeatureWriter]:
        """Yield the writer of the missing rows, under a lock: one process at a time writes it.

        `names` are all rows that this run needs; see `_compacted`.
        """
        # Imported here, because it is not installed on a device, where `rtl cache` runs too.
        from filelock import FileLock, Timeout

        self._place.mkdir(exist_ok=True)
        lock = FileLock(self._place / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress.message("another run computes the same features; waiting for it")
            lock.acquire()
        try:
            write_json(self._place / "about.json", self.key)
            index = self._compacted(names)
            intact = self._intact(index, names)
            missing = [name for name in dict.fromkeys(names) if name not in intact]
            writer = FeatureWriter(self._place, index, missing, self.key.row_bytes)
            try:
                yield writer
            finally:
                writer.close()
        finally:
            lock.release()

    def read(self, names: Sequence[str]) -> tuple[Features, NDArray[np.int64]]:
        """Return (all rows, memory-mapped float16 [rows, …]; the row's number of each name)."""
        about = self._place / "about.json"
        with contextlib.suppress(OSError):  # the disk is for reading only
            if about.exists():
                os.utime(about)
            else:
                write_json(about, self.key)
        index = self._index()
        try:
            numbers = np.array([index.rows[name] for name in names])
        except KeyError as error:
            raise Unstorable("another process has removed them") from error
        return self._map(index.file), numbers

    def _index(self) -> Index:
        """Return the index; an empty one where it or rows that it names are missing or damaged."""
        try:
            index = read_index(self._place)
            rows = (self._place / index.file).stat().st_size // self.key.row_bytes
        except UNREADABLE:
            return Index("rows-1.f16", {})
        return index if rows > max(index.rows.values(), default=-1) else Index(index.file, {})

    def _map(self, file: str) -> Features:
        path = self._place / file
        count = path.stat().st_size // self.key.row_bytes
        return np.memmap(path, dtype="<f2", mode="r", shape=(count, *self.key.shape))

    def _compacted(self, names: Sequence[str]) -> Index:
        """Return the index, after copying the rows in use to a new file if more are out of date.

        Rows in use are those in `names`.
        """
        index = self._index()
        wanted = set(names)
        used = {name: row for name, row in index.rows.items() if name in wanted}
        if len(index.rows) - len(used) <= len(wanted):
            return index
        used = {name: used[name] for name in used if name in self._intact(index, used)}
        number = int(index.file.split("-")[1].split(".")[0]) + 1
        compacted = Index(
            f"rows-{number}.f16",
            dict(zip(used, range(len(used)), strict=True)),
            {name: index.sums[name] for name in used},
        )
        with (self._place / compacted.file).open("wb") as file:
            if used:
                rows = self._map(index.file)
                for row in used.values():
                    file.write(rows[row].tobytes())
        write_json(self._place / "index.json", compacted)
        with contextlib.suppress(OSError):  # Windows: another run has the file open
            (self._place / index.file).unlink()
        return compacted


def display_folder() -> str:
    """Return the folder of the features for messages; see `display_path`."""
    return display_path(features_folder())


def _kept_features(record: Path) -> KeptFeatures:
    folder = record.parent
    index = folder / "index.json"
    rows = msgspec.json.decode(index.read_bytes(), type=Index).rows if index.is_file() else {}
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
