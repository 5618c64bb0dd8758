"""A file of predictions that is written as they come: whole lines, and a way to go on with it.

There is no second file that says how far one came. The rows themselves say which images are done,
and whether this model made them: some are computed again before anything is added.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from array import array
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from toolchain.errors import DataError, ImageError, ToolchainError
from toolchain.prediction.rows import Result, RowFormat, WrittenRow
from toolchain.runtime.predictor import Predictor

try:
    import fcntl
except ImportError:  # Windows, where nobody is kept from writing to the same file
    fcntl = None  # type: ignore[assignment]

SYNC_S = 5.0
"""So often what was written is brought to the disk, in case the power goes."""
SAMPLES = 4
"""So many of the first and of the last predictions are computed again."""
TOLERANCE = 2e-3
"""Other processors and numbers of threads stay well under this; another model hardly does."""


class PredictionFile:
    """A file that rows are added to; `done` has what was in it.

    Raises DataError for a file that is there already, unless `resume` says to go on with it, and
    for one that another process is writing.
    """

    def __init__(self, path: Path, form: RowFormat, *, resume: bool) -> None:
        self.path, self.form = path, form
        self.done = Done(path)
        try:
            self._file = self._open(resume)
        except OSError as error:
            raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from error
        self._synced = time.monotonic()
        try:
            if self._regular:
                self._lock()
            self._end = self.done.read(form) if self._regular else 0
        except BaseException:
            self._file.close()
            raise
        self.written = 0
        if not self._end:
            self._append(form.header)

    def write(self, name: str, result: Result) -> None:
        """Add a row; ToolchainError where the disk is full, and what is there stays whole."""
        self._append(self.form.row(name, result))
        self.written += 1

    def close(self) -> None:
        """Bring everything to the disk."""
        if self._regular:
            os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> PredictionFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, resume: bool) -> IO[bytes]:
        """Open a file for adding, unbuffered, so that a row is in it as soon as it is written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            status = self.path.stat()
            if stat.S_ISREG(status.st_mode) and status.st_size and not resume:
                raise DataError(
                    f"{self.path} exists; predictions are never written over",
                    hint="--resume goes on with it; or choose another --output",
                )
        file = self.path.open("ab", buffering=0)
        self._regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        if resume and not self._regular:
            file.close()
            raise DataError(f"{self.path} is a pipe or device; there is nothing to go on with")
        return file

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(f"{self.path}: another process is writing to it") from error
        except OSError:  # a file system without locks
            return

    def _append(self, text: str) -> None:
        data = memoryview(text.encode())
        try:
            while data:
                data = data[self._file.write(data) :]
            if self._regular and time.monotonic() - self._synced > SYNC_S:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except BrokenPipeError:
            raise
        except OSError as error:
            if self._regular:
                with contextlib.suppress(OSError):
                    os.truncate(self._file.fileno(), self._end)
            raise ToolchainError(
                f"{self.path}: {(error.strerror or str(error)).lower()}",
                hint=f"the {self.written:,} rows written before are whole; --resume goes on there",
            ) from error
        self._end += len(text.encode())


class Done:
    """The images that a file of predictions has already, and what it says of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.failed = 0
        self.samples: list[WrittenRow] = []
        self._digests, self._left = np.empty(0, np.uint64), np.empty(0, np.int64)

    def read(self, form: RowFormat) -> int:
        """Read the file, cut off what is not a whole row, and give where the next one begins."""
        # Eight bytes a name, so that a million finished files take eight megabytes.
        digests = array("Q")
        first: list[WrittenRow] = []
        last: deque[WrittenRow] = deque(maxlen=SAMPLES)
        end = 0
        with self.path.open("rb") as file:
            for text in records(file, quoted=form.quoted):
                row = self._row(text, form, is_header=not end and bool(form.header))
                end += len(text)
                if row is None:
                    continue
                digests.append(_digest(row.name))
                self.rows += 1
                self.failed += row.error is not None
                if row.error is None:
                    (first if len(first) < SAMPLES else last).append(row)
            self._require_beginning(file, end, form)
        os.truncate(self.path, end)
        self.samples = [*chain(first, last)]
        self._digests, self._left = np.unique(np.array(digests, np.uint64), return_counts=True)
        return end

    def take(self, name: str, form: RowFormat) -> bool:
        """Say whether an image is done; each row answers once, so a name given twice is kept."""
        if not len(self._digests):
            return False
        digest = np.uint64(_digest(form.written_name(name)))
        place = min(int(np.searchsorted(self._digests, digest)), len(self._digests) - 1)
        if self._digests[place] != digest or not self._left[place]:
            return False
        self._left[place] -= 1
        return True

    def require_made_by(self, predictor: Predictor) -> None:
        """Raise DataError where this model says something else of images that were done before."""
        for row in self.samples:
            try:
                now = predictor(Path(row.name))
            except ImageError:  # moved or removed meanwhile
                continue
            says = dict(zip(now.classes, now.probabilities.tolist(), strict=True))
            if any(abs(says.get(label, 2.0) - p) > TOLERANCE for label, p in row.top):
                label, before = row.top[0]
                raise DataError(
                    f"{self.path} was not made by this model: {row.name} is {label} with "
                    f"{before:.4f} there, and {says.get(label, 0.0):.4f} now",
                    hint="choose another --output",
                )

    def _row(self, text: bytes, form: RowFormat, *, is_header: bool) -> WrittenRow | None:
        try:
            row = text.decode()
            if is_header and row != form.header:
                raise ValueError("another model or other options")
            return None if is_header else form.read(row)
        except ValueError as error:
            reason = str(error) if type(error) is ValueError else "not a row"
            raise DataError(
                f"{self.path}, row {self.rows + 1}: {reason}",
                hint="--resume takes the model, --top and format that the file was made with",
            ) from error

    def _require_beginning(self, file: IO[bytes], end: int, form: RowFormat) -> None:
        """Raise DataError where nothing is whole, and what is there was never ours to cut."""
        file.seek(0)
        start, ours = file.read(len(form.beginning.encode())), form.beginning.encode()
        if not end and not (start.startswith(ours) or ours.startswith(start)):
            raise DataError(f"{self.path} is not a file of predictions", hint="another --output")


def records(file: IO[bytes], *, quoted: bool) -> Iterator[bytes]:
    """Yield each whole row; what comes after the last line end is none."""
    held = b""
    for line in file:
        held += line
        if held.endswith(b"\n") and not (quoted and held.count(b'"') % 2):
            yield held
            held = b""


def _digest(name: str) -> int:
    data = name.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
