"""A file of predictions: each row is in it as soon as it is written, and only whole rows are."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from pathlib import Path
from typing import IO, Self

from toolchain.errors import DataError, ToolchainError
from toolchain.prediction.made_by import model_of, require_same_model, write_note, written_note
from toolchain.prediction.resume import EarlierRows, complete_rows
from toolchain.prediction.rows import PredictionOrError, TextFormat, row_format
from toolchain.prediction.sinks import Sink
from toolchain.runtime.predictor import Predictor

try:
    import fcntl
except ImportError:  # Windows, where two processes can write to the same file
    fcntl = None  # type: ignore[assignment]

SYNC_S = 5.0
"""Seconds between two calls of fsync, which bound what a power failure can lose."""


class PredictionFile(Sink):
    """A file of JSON lines or CSV that rows are appended to; with `resume` an existing one."""

    def __init__(
        self, path: Path, text_format: TextFormat = "jsonl", *, top: int = 1, resume: bool = False
    ) -> None:
        self.path, self.text_format, self.top, self.resume = path, text_format, top, resume
        self.written = 0
        """Rows added since `open`."""

    def open(self, predictor: Predictor) -> Self:
        """Create the file, or read the rows that it has; `earlier` is then set.

        Raises DataError for a file that exists, unless it is resumed, for one that another process
        is writing, and for one that another model made.
        """
        self.format = row_format(self.text_format, predictor.card, self.top)
        earlier = EarlierRows(self.path, self.format)
        try:
            self._file = self._open()
        except OSError as error:
            raise DataError(f"{self.path}: {(error.strerror or str(error)).lower()}") from error
        self._synced = time.monotonic()
        try:
            if self._regular:
                self._lock()
            self._end = earlier.read() if self._regular else 0
            self.earlier = earlier
            if not self._end:
                self._append(self.format.header)
            model = model_of(predictor)
            earlier.require_made_by(predictor, is_known=written_note(self.path) is not None)
            if earlier.rows:
                require_same_model(self.path, model)
            if self._regular:
                write_note(self.path, model)
        except BaseException:
            self._file.close()
            raise
        return self

    def write(self, name: str, result: PredictionOrError) -> None:
        """Add a row; raise ToolchainError where the disk is full, with whole rows in the file."""
        self._append(self.format.row(name, result))
        self.written += 1

    def count_rows(self) -> int:
        """Return how many whole rows the file has now; of a pipe, how many were written.

        They are counted in the file: Ctrl-C can come between a write and its count in `written`.
        """
        if not self._regular:
            return self.written
        with self.path.open("rb") as file:
            rows = sum(1 for _ in complete_rows(file, quoted=self.format.quoted))
        return rows - (rows > 0 and bool(self.format.header))

    def __exit__(self, *_: object) -> None:
        """Sync the file to the disk and close it."""
        if self._regular:
            os.fsync(self._file.fileno())
        self._file.close()

    def _open(self) -> IO[bytes]:
        """Open the file for appending, unbuffered, so that each row is in it once written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            status = self.path.stat()
            if stat.S_ISREG(status.st_mode) and status.st_size and not self.resume:
                raise DataError(
                    f"{self.path} exists; predictions are never written over",
                    hint="--resume adds the missing rows; or choose another --output",
                )
        file = self.path.open("ab", buffering=0)
        self._regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
        if self.resume and not self._regular:
            file.close()
            raise DataError(f"{self.path} is a pipe or device; there is nothing to resume")
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
        """Write a text; where that fails halfway, cut the file back to whole rows."""
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
                hint=f"the {self.written:,} rows written before are whole; --resume adds the rest",
            ) from error
        self._end += len(text.encode())
