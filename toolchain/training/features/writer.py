"""The rows of an entry of the cache as they are written, and the index that names them."""

from __future__ import annotations

import re
import time
import zlib
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.errors import TrainingError
from toolchain.files import write_json

ROWS_FILE = re.compile(r"rows-\d+\.f16")

Features = NDArray[np.float16]


class Index(msgspec.Struct):
    """The content of `index.json`."""

    file: str
    """The name of the file with the rows."""
    rows: dict[str, int]
    """Name → number of its row."""
    sums: dict[str, int] = {}
    """The CRC-32 of each row."""


def read_index(folder: Path) -> Index:
    """Return the index of an entry. Raises one of UNREADABLE where it can't be used."""
    index = msgspec.json.decode((folder / "index.json").read_bytes(), type=Index)
    if ROWS_FILE.fullmatch(index.file) is None or min(index.rows.values(), default=0) < 0:
        raise ValueError("not an index of rows")
    return index


class Unstorable(TrainingError):
    """The features can't be stored; the run computes them in each epoch instead."""


class FeatureWriter:
    """Appends rows as they are computed, and adds them to the index every few seconds."""

    KEEP_EVERY_S = 5.0

    def __init__(self, folder: Path, index: Index, missing: list[str], row_bytes: int) -> None:
        """`missing` are the names of the rows that will be put, in their order."""
        self.folder, self.index, self.missing = folder, index, missing
        # Rows that a killed run wrote without adding them to the index are overwritten.
        self.first = max(index.rows.values(), default=-1) + 1
        self.done: dict[str, int] = {}
        self.sums: dict[str, int] = {}
        self.saved_at = time.monotonic()
        path = folder / index.file
        path.touch()
        # Written as a file, although it is read by memory mapping: on a full disk that raises an
        # error, while a write into mapped memory would kill the process.
        self.file = path.open("r+b")
        self.file.seek(self.first * row_bytes)

    def put(self, features: NDArray[np.float32]) -> None:
        """Append the next missing row, float32 of the key's shape.

        Raises Unstorable where float16 can't hold it.
        """
        with np.errstate(over="ignore"):
            row = features.astype("<f2")
        if not np.isfinite(row).all():
            raise Unstorable("a feature is larger than float16 can hold")
        data = row.tobytes()
        self.file.write(data)
        number = len(self.done)
        self.done[self.missing[number]] = self.first + number
        self.sums[self.missing[number]] = zlib.crc32(data)
        if time.monotonic() - self.saved_at > self.KEEP_EVERY_S:
            self.keep()

    def keep(self) -> None:
        """Add the finished rows to the index on the disk."""
        self.file.flush()
        if self.done:
            self.index.rows.update(self.done)
            self.index.sums.update(self.sums)
            write_json(self.folder / "index.json", self.index)
        self.saved_at = time.monotonic()

    def close(self) -> None:
        """Add the finished rows to the index, and close the file."""
        try:
            self.keep()
        finally:
            self.file.close()
