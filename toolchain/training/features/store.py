"""Where features are kept: a folder for each frozen network, one memory-mapped file of rows.

    <cache>/features/<key>/about.json      what the rows are
                           index.json      which row belongs to which image and view
                           rows-<n>.f16    float16 [rows, …], little-endian

The key is a digest of all that the rows follow from but the images: weights, boundary,
preprocessing, augmentation, data set. A row's name is the digest of its file's bytes and the
view's number, so a changed file finds no row and gets a new one. Rows are never overwritten: a run
that still reads an old row reads the right one. When more rows are out of date than in use, the
used ones move to a new file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.errors import TrainingError
from toolchain.files import display_path, write_json
from toolchain.progress import ProgressReporter
from toolchain.runtime.cachefolder import cache_folder

SPARE_BYTES = 500_000_000
"""So much of the disk is left free: the run folder needs room too."""

Features = NDArray[np.float16]


class CacheKey(msgspec.Struct, frozen=True):
    """What the rows of an entry are, for a person who looks and for the key."""

    data: str
    arch: str
    boundary: str
    """The first part of the network that is trained."""
    weights_sha256: str
    preprocessing: dict[str, Any]
    rtl: str
    """The version that computed them."""
    view: str
    """`clean`, or the augmentation preset and its seed."""
    shape: tuple[int, ...]
    """Of one row."""

    @property
    def row_bytes(self) -> int:
        """Size of a row."""
        return int(np.prod(self.shape)) * 2


class _Index(msgspec.Struct):
    file: str
    rows: dict[str, int]


@dataclass(frozen=True)
class EntrySize:
    """What an entry takes on the disk."""

    folder: Path
    key: CacheKey
    rows: int
    bytes: int
    used: float
    """When a run last asked for it, in seconds since 1970."""


def features_folder() -> Path:
    """Return the folder of the kept features."""
    return cache_folder() / "features"


def entries() -> list[EntrySize]:
    """Return the kept entries, the longest unused first."""
    found = []
    for key in features_folder().glob("*/about.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found.append(_entry_size(key))
    return sorted(found, key=lambda entry: entry.used)


def clear() -> int:
    """Remove all kept features and give how many bytes that were."""
    freed = sum(entry.bytes for entry in entries())
    shutil.rmtree(features_folder(), ignore_errors=True)
    return freed


def make_room(needed: int, limit: int, keep: Sequence[Path], progress: ProgressReporter) -> bool:
    """Remove the longest unused entries until `needed` more bytes fit; say whether they do.

    `keep` are entries of this run. They count, but are not removed.
    """
    present = entries()
    others = [entry for entry in present if entry.folder not in keep]
    total = needed + sum(entry.bytes for entry in present)
    lacking = needed - (_free_bytes(features_folder()) - SPARE_BYTES)
    removable = sum(entry.bytes for entry in others)
    if total - removable > limit or lacking > removable:
        return False
    for oldest in others:
        if total <= limit and lacking <= 0:
            break
        shutil.rmtree(oldest.folder, ignore_errors=True)
        progress.message(f"removed the features of {oldest.key.data} to make room")
        total -= oldest.bytes
        lacking -= oldest.bytes
    return True


class Entry:
    """The rows of one key."""

    def __init__(self, key: CacheKey) -> None:
        self.key = key
        text = msgspec.json.encode(key, order="sorted")
        self.folder = features_folder() / hashlib.sha256(text).hexdigest()[:20]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return which of the rows are not there yet, each once."""
        present = self._index().rows
        return [name for name in dict.fromkeys(names) if name not in present]

    def new_bytes(self, names: Iterable[str]) -> int:
        """Return how many bytes the missing rows will take."""
        return len(self.missing(names)) * self.key.row_bytes

    def remove(self) -> None:
        """Remove all rows."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @contextlib.contextmanager
    def writing(self, names: Sequence[str], progress: ProgressReporter) -> Iterator[FeatureWriter]:
        """Yield what takes the missing rows; one process at a time fills an entry."""
        from filelock import FileLock, Timeout  # `rtl cache` does without, on a device

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
        """Return (all rows, memory-mapped float16 [rows, …]; the row of each name)."""
        os.utime(self.folder / "about.json")
        index = self._index()
        return self._map(index.file), np.array([index.rows[name] for name in names])

    def _index(self) -> _Index:
        """Return the index; an empty one where it, or rows that it names, are gone."""
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
        """Return the index, after moving the used rows to a new file if most are out of date."""
        index = self._index()
        wanted = set(names)
        used = {name: row for name, row in index.rows.items() if name in wanted}
        if len(index.rows) - len(used) <= len(wanted):
            return index
        number = int(index.file.split("-")[1].split(".")[0]) + 1
        moved = _Index(f"rows-{number}.f16", dict(zip(used, range(len(used)), strict=True)))
        with (self.folder / moved.file).open("wb") as file:
            if used:
                rows = self._map(index.file)
                for row in used.values():
                    file.write(rows[row].tobytes())
        write_json(self.folder / "index.json", moved)
        with contextlib.suppress(OSError):  # where a run still has it open, on Windows
            (self.folder / index.file).unlink()
        return moved


class FeatureWriter:
    """Takes rows as they are computed, and names them in the index now and then."""

    KEEP_EVERY_S = 5.0

    def __init__(self, entry: Entry, index: _Index, missing: list[str]) -> None:
        self.entry, self.index, self.missing = entry, index, missing
        # Rows that a killed run wrote and did not name are written again.
        self.first = max(index.rows.values(), default=-1) + 1
        self.done: dict[str, int] = {}
        self.kept = time.monotonic()
        path = entry.folder / index.file
        path.touch()
        # Written as a file and only read through memory: a full disk is then an error that can be
        # caught, where a write into mapped memory would kill the process.
        self.file = path.open("r+b")
        self.file.seek(self.first * entry.key.row_bytes)

    def put(self, features: NDArray[np.float32]) -> None:
        """Take the next missing row; Unstorable where float16 can't hold it."""
        with np.errstate(over="ignore"):
            row = features.astype("<f2")
        if not np.isfinite(row).all():
            raise Unstorable("a feature is larger than float16 can hold")
        self.file.write(row.tobytes())
        number = len(self.done)
        self.done[self.missing[number]] = self.first + number
        if time.monotonic() - self.kept > self.KEEP_EVERY_S:
            self.keep()

    def keep(self) -> None:
        """Name the finished rows in the index."""
        self.file.flush()
        if self.done:
            self.index.rows.update(self.done)
            write_json(self.entry.folder / "index.json", self.index)
        self.kept = time.monotonic()

    def close(self) -> None:
        """Keep what is finished."""
        try:
            self.keep()
        finally:
            self.file.close()


class Unstorable(TrainingError):
    """Features that can't be kept; the run goes on without."""


def place() -> str:
    """Return the folder of the features as a reader would type it."""
    return display_path(features_folder())


def _entry_size(key: Path) -> EntrySize:
    folder = key.parent
    files = list(folder.iterdir())
    index = folder / "index.json"
    rows = msgspec.json.decode(index.read_bytes(), type=_Index).rows if index.is_file() else {}
    return EntrySize(
        folder=folder,
        key=msgspec.json.decode(key.read_bytes(), type=CacheKey),
        rows=len(rows),
        bytes=sum(file.stat().st_size for file in files),
        used=key.stat().st_mtime,
    )


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
