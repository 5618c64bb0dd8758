"""The bytes of an open model file, also after another file was put in its place.

A predictor opens its file a second time: in a forked process, and for a session of one thread. It
must then read the bytes that it opened first, or say that they are gone. So an open descriptor is
kept, which takes no memory: on Linux a file can be opened again by it after it was replaced.
"""

from __future__ import annotations

import contextlib
import os
import sys
import weakref
from pathlib import Path

from toolchain.errors import ModelFileError, shortened
from toolchain.runtime.option_checks import text_option

CHANGED_HINT = "make a new Predictor of it"
DIGEST_DIGITS = 64
DESCRIPTORS = Path("/proc/self/fd")


class ModelFile:
    """A regular file as it was when it was opened. Raises ModelFileError where it can't be read."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        """Another working folder must not lead elsewhere."""
        self.name = shortened(str(path))
        self.sha256: str | None = None
        """The digest of the bytes; set once it was computed, or found noted."""
        try:
            self._descriptor, self._status = _opened(self.path)
        except OSError as error:
            raise ModelFileError(f"{self.name} can't be opened: {_reason(error)}") from error
        place = _place(self._status)
        self._finalizer = weakref.finalize(self, _close, self._descriptor, place)
        self._finalizer.atexit = False

    def close(self) -> None:
        """Close the descriptor. A second call does nothing."""
        self._finalizer()
        self._descriptor = None

    def require_unchanged(self) -> None:
        """Raise ModelFileError where the path leads to other bytes than it did at first."""
        if not self._path_is_unchanged():
            raise self._changed()

    def same_bytes(self) -> Path:
        """Return a path by which the bytes can be opened again.

        Raises ModelFileError where that is not possible: the file was written to, or replaced on a
        system that can't open it by its descriptor.
        """
        if self._path_is_unchanged():
            return self.path
        found = self._descriptor_status()
        if found is None or not DESCRIPTORS.is_dir() or not self._holds_the_bytes(found):
            raise self._changed()
        return DESCRIPTORS / str(self._descriptor)

    def digest(self) -> str:
        """Return the sha256 of the bytes in hex, computed from them once.

        Raises ModelFileError where the bytes are no longer there.
        """
        from toolchain.files import file_sha256

        path = self.same_bytes()
        try:
            self.sha256 = file_sha256(path)
        except OSError as error:
            raise ModelFileError(f"{self.name} can't be read: {_reason(error)}") from error
        self.same_bytes()  # it may have been written to meanwhile
        return self.sha256

    def _path_is_unchanged(self) -> bool:
        try:
            return _state(self.path.stat()) == _state(self._status)
        except OSError:
            return False

    def _descriptor_status(self) -> os.stat_result | None:
        """Return the status of the open file; None where its descriptor was closed or reused."""
        if self._descriptor is None:
            return None
        with contextlib.suppress(OSError):
            found = os.fstat(self._descriptor)
            if _place(found) == _place(self._status):
                return found
        return None

    def _holds_the_bytes(self, found: os.stat_result) -> bool:
        """Return whether an open file that is no longer at its path, or was touched, is the same.

        Its change time (ctime) differs after a rename or a chmod, and after a write whose
        modification time was set back: the digest decides, where it is known.
        """
        if (found.st_size, found.st_mtime_ns) != (self._status.st_size, self._status.st_mtime_ns):
            return False
        if _state(found) == _state(self._status):
            return True
        if self.sha256 is not None:
            from toolchain.files import file_sha256

            return file_sha256(DESCRIPTORS / str(self._descriptor)) == self.sha256
        return found.st_nlink < self._status.st_nlink

    def _changed(self) -> ModelFileError:
        return ModelFileError(f"{self.name} has changed since it was opened", hint=CHANGED_HINT)


def checked_digest(text: str) -> str:
    """Return a sha256 of 64 hex digits in lower case. Raises TypeError or ValueError for others."""
    digest = text_option("sha256", text).strip().lower().removeprefix("sha256:")
    if len(digest) != DIGEST_DIGITS or not set(digest) <= set("0123456789abcdef"):
        raise ValueError(f"sha256 must be 64 hex digits, got {shortened(text)!r}")
    return digest


def require_digest(file: ModelFile, expected: str | None) -> None:
    """Raise ModelFileError where a file has another sha256 than is expected; None accepts any."""
    if expected is None:
        return
    found = file.digest()
    if found != checked_digest(expected):
        raise ModelFileError(
            f"{file.name} has the sha256 {found}, not {checked_digest(expected)}",
            hint="it is another model, or a damaged copy",
        )


def _opened(path: Path) -> tuple[int | None, os.stat_result]:
    """Return (descriptor, status) of a file that can be read."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    status = os.fstat(descriptor)
    if sys.platform == "win32":  # an open file could not be replaced there
        os.close(descriptor)
        return None, path.stat()
    return descriptor, status


def _close(descriptor: int | None, place: tuple[int, int]) -> None:
    """Close a descriptor, unless the program has closed it and it is another file's now."""
    if descriptor is None:
        return
    with contextlib.suppress(OSError):
        if _place(os.fstat(descriptor)) == place:
            os.close(descriptor)


def _place(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _state(status: os.stat_result) -> tuple[int, ...]:
    return *_place(status), status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
