"""Reads all bytes of an image from a path, bytes or an open file, with bounded size and waiting."""

from __future__ import annotations

import contextlib
import io
import os
import select
import stat
from collections.abc import Iterator
from threading import Lock
from typing import IO

from toolchain.errors import ImageError, shortened

Readable = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]

MAX_BYTES = 2**30
"""Larger files are refused: the largest accepted image takes 540 MB uncompressed."""

READ_BYTES = 2**24
"""How much is read from a stream at a time."""

LOCKS = 61
"""Objects share this many locks; few images are read at the same time.

A prime: the addresses of objects are multiples of 16, so of 64 locks they would use four.
"""

SHOWN_OF_A_WRONG_PATH = 24
"""Characters of a text that is no path, such as base64: the rest says nothing."""

WRITER_TIMEOUT_S = 5
"""How long to wait for data or a writer at the other end of a pipe."""


def image_name(source: object) -> str:
    """Return what errors call an image: its path as text, or "image" where it has none."""
    if not isinstance(source, str | os.PathLike):
        return "image"
    try:
        return shortened(os.fsdecode(source)) or "(empty path)"
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
        elif hasattr(source, "read") and not isinstance(source, type):
            with shared_lock(source):
                data = _read_stream(source)
        else:
            raise _wrong_kind(source)
    except ImageError as error:
        raise ImageError(f"{name}: {error}", hint=error.hint) from error
    except Exception as error:  # a user's stream may raise exceptions of any type
        raise _unreadable(source, name, error) from error
    if not data:
        raise ImageError(f"{name}: empty file", hint=f"accepted: {ImageError.accepted}")
    return data


@contextlib.contextmanager
def shared_lock(item: object) -> Iterator[None]:
    """Hold a lock that belongs to one object, which other threads may read at the same time."""
    with _LOCKS[id(item) % len(_LOCKS)]:
        yield


def _new_locks() -> None:
    """Make locks that no thread holds: of those of a parent process some may be held for ever."""
    _LOCKS[:] = [Lock() for _ in range(LOCKS)]


_LOCKS: list[Lock] = []
_new_locks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_locks)


def _wrong_kind(source: object) -> ImageError:
    from toolchain.runtime.image.wrong_kind import kind_of

    wrong = kind_of(source)
    return ImageError(wrong.what, hint=wrong.hint)


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
    can_seek = getattr(stream, "seekable", None)
    seekable = False if can_seek is None else can_seek()
    _require_now(seekable)
    if seekable:
        stream.seek(0)
    data = _read_bounded(stream)
    if not data and not seekable:
        raise ImageError("nothing is left to read in it", hint="it was read to its end before")
    return data


def _require_now(returned: object) -> None:
    """Raise ImageError for what an asynchronous file returns in place of its bytes."""
    if not hasattr(returned, "__await__"):
        return
    close = getattr(returned, "close", None)
    if close is not None:
        close()  # or Python warns that it was never awaited
    from toolchain.runtime.image.wrong_kind import UPLOAD

    raise ImageError(UPLOAD.what, hint=UPLOAD.hint)


def _read_bounded(stream: IO[bytes] | io.RawIOBase) -> bytes:
    """Return all bytes of a stream. Raises ImageError beyond MAX_BYTES: a pipe may never end."""
    chunks, length = [], 0
    while chunk := stream.read(READ_BYTES):
        if not isinstance(chunk, bytes | bytearray | memoryview):
            _require_now(chunk)
            raise ImageError("a file opened as text", hint="open it in binary mode, 'rb'")
        chunks.append(chunk)
        length += len(chunk)
        if length > MAX_BYTES:
            raise _too_large()
    return b"".join(chunks)


def _too_large() -> ImageError:
    return ImageError(f"more than {MAX_BYTES:,} bytes")


def _unreadable(source: object, name: str, error: Exception) -> ImageError:
    """Return the error of a path, file or object that could not be read."""
    from toolchain.runtime.image import wrong_kind

    wrong = None
    if isinstance(source, str | os.PathLike) and not isinstance(error, TypeError):
        wrong = wrong_kind.kind_of_text(os.fsdecode(source))
        name = name if wrong is None else f"{name.splitlines()[0][:SHOWN_OF_A_WRONG_PATH]}…"
    elif hasattr(source, "read"):
        wrong = wrong_kind.kind_of_file(source, error)
    if wrong is not None:
        return ImageError(f"{name}: {wrong.what}", hint=wrong.hint)
    return ImageError(f"{name}: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
