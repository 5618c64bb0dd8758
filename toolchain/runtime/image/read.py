"""Reads all bytes of an image from a path, bytes or an open file, with bounded size and waiting."""

from __future__ import annotations

import io
import os
import select
import stat
from typing import IO

from toolchain.errors import ImageError

Readable = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]

MAX_BYTES = 2**30
"""Larger files are refused: the largest accepted image takes 540 MB uncompressed."""

READ_BYTES = 2**24
"""How much is read from a stream at a time."""

WRITER_TIMEOUT_S = 5
"""How long to wait for data or a writer at the other end of a pipe."""


def image_name(source: object) -> str:
    """Return what errors call an image: its path as text, or "image" where it has none."""
    if not isinstance(source, str | os.PathLike):
        return "image"
    try:
        return os.fsdecode(source) or "(empty path)"
    except TypeError:  # its __fspath__ does not return a path
        return "image"


def read_bytes(source: Readable, name: str) -> bytes:
    """Return all bytes of a path, a bytes-like object or an open file.

    A seekable file is read from its start, as Pillow does, so that reading it twice returns the
    same; any other stream from its current position. `name` is what errors call the image. Raises
    ImageError where nothing can be read.
    """
    try:
        if isinstance(source, bytes | bytearray | memoryview):
            data = bytes(source)
        elif isinstance(source, str | os.PathLike):
            data = _read_path(source)
        elif hasattr(source, "read"):
            data = _read_stream(source)
        else:
            raise ImageError(f"{name}: {type(source).__name__} is not an image")
    except ImageError as error:
        raise ImageError(f"{name}: {error}", hint=error.hint) from error
    except Exception as error:  # a user's stream may raise exceptions of any type
        raise ImageError(f"{name}: {_reason(error)}") from error
    if not data:
        raise ImageError(f"{name}: empty file", hint=f"accepted: {ImageError.accepted}")
    return data


def _read_path(path: str | os.PathLike[str]) -> bytes:
    # Without O_NONBLOCK opening a pipe blocks until a writer opens it, possibly for ever.
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        status = os.fstat(file)
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("is a directory")
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            raise ImageError("a device, not an image")
        if stat.S_ISFIFO(status.st_mode):
            _wait_for_writer(file)
        if status.st_size > MAX_BYTES:
            raise _too_large()
        with io.FileIO(file, closefd=False) as stream:
            return stream.readall() if status.st_size else _read_bounded(stream)
    finally:
        os.close(file)


def _wait_for_writer(pipe: int) -> None:
    """Wait until a pipe has data, or a writer; then make it blocking.

    Raises ImageError where it has neither after WRITER_TIMEOUT_S.
    """
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    if not poll.poll(1000 * WRITER_TIMEOUT_S):
        try:
            os.read(pipe, 1)  # it is empty: without a writer this returns the end of the file
        except BlockingIOError:
            pass
        else:
            raise ImageError("a pipe that nobody writes to")
    os.set_blocking(pipe, True)


def _read_stream(stream: IO[bytes]) -> bytes:
    seekable = getattr(stream, "seekable", None)
    if seekable is not None and seekable():
        stream.seek(0)
    return _read_bounded(stream)


def _read_bounded(stream: IO[bytes] | io.RawIOBase) -> bytes:
    """Return all bytes of a stream. Raises ImageError beyond MAX_BYTES: a pipe may never end."""
    chunks, length = [], 0
    while chunk := stream.read(READ_BYTES):
        if not isinstance(chunk, bytes | bytearray | memoryview):
            raise ImageError("a file opened as text", hint="open it in binary mode, 'rb'")
        chunks.append(chunk)
        length += len(chunk)
        if length > MAX_BYTES:
            raise _too_large()
    return b"".join(chunks)


def _too_large() -> ImageError:
    return ImageError(f"more than {MAX_BYTES:,} bytes")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
