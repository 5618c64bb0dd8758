"""Standard output and error that no encoding, full disk or closed pipe can turn into a failure.

A command that has trained for hours must not end because a line about it can't be shown. So a
letter that the encoding of a stream lacks is written as an escape, and where a stream can't be
written at all, the command goes on and its exit status tells at the end.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from toolchain.errors import OutputError

NOWHERE = Path(os.devnull)
FIRST_FREE = 3
"""The first file descriptor that is not one of the three standard streams."""


class GuardedStream:
    """A text stream that remembers the first write that failed, and drops all after it.

    Everything else is the stream's own and is not guarded.
    """

    def __init__(self, stream: TextIO, *, closed: bool = False) -> None:
        """`closed` says that nothing can be written, and `stream` leads nowhere."""
        self._stream = stream
        self._closed = closed
        self.error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def buffer(self) -> BinaryIO:
        """The stream of bytes below, which is not guarded."""
        if self._closed:
            self.error = self.error or OSError(errno.EBADF, "it is closed")
        return self._stream.buffer

    def write(self, text: str) -> int:
        """Write a text, and return its length also where it is dropped."""
        if self._closed:
            self.error = self.error or OSError(errno.EBADF, "it is closed")
        else:
            self._attempt(lambda: self._stream.write(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is buffered."""
        self._attempt(self._stream.flush)

    def _attempt(self, operation: Callable[[], object]) -> None:
        try:
            operation()
        except OSError as error:
            self.error = self.error or error
            self._lead_nowhere()

    def _lead_nowhere(self) -> None:
        """Let what is buffered, and what libraries write, disappear instead of failing again."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class Streams:
    """The two streams of a command."""

    def __init__(self, out: GuardedStream, err: GuardedStream) -> None:
        self.out, self.err = out, err

    def lost_output(self) -> OutputError | None:
        """Return the error of what could not be written, None where all of it was."""
        for name, stream in (("standard output", self.out), ("standard error", self.err)):
            stream.flush()
            if stream.error is not None:
                reason = (stream.error.strerror or str(stream.error)).lower()
                return OutputError(f"the command is done, but {name} can't be written: {reason}")
        return None


def guard_streams() -> Streams:
    """Replace standard output and error by guarded ones, and open those that are closed."""
    _fill_closed_descriptors()
    # A closed standard error is a wish: nobody wants the messages. A result is always wanted.
    out, err = _guarded(sys.stdout, missed=True), _guarded(sys.stderr, missed=False)
    sys.stdout, sys.stderr = out, err
    return Streams(out, err)


def _guarded(stream: TextIO | None, *, missed: bool) -> GuardedStream:
    """Return a stream guarded; `missed` says whether output of a closed one counts as lost."""
    if stream is None:
        nowhere = NOWHERE.open("w", encoding="utf-8")
        return GuardedStream(nowhere, closed=missed)
    with contextlib.suppress(AttributeError, ValueError, OSError):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]
    return GuardedStream(stream)


def _fill_closed_descriptors() -> None:
    """Open the null device in place of closed standard streams.

    Else the next file that is opened, such as the model, takes the number of standard error, and
    a library's warning is written into it.
    """
    for number in range(FIRST_FREE):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this


def write_line(text: str, stream: TextIO) -> None:
    """Write a line and flush it."""
    stream.write(text + "\n")
    stream.flush()
