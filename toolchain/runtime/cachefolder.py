"""The caches on the disk: where their folder lies, and how a bounded one is listed and emptied.

A cache is a folder with one folder for each entry. What an entry holds, how large a cache may
become and which entries have to stay is decided where the cache is: `modelcache/store.py` and
`training/features/store.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

CACHE_VARIABLE = "RTL_CACHE_DIR"
NAME = "rtl"
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
DESCRIPTORS = Path("/proc/self/fd")
"""On Linux, where open folders can be named by their descriptors."""


def record_bytes(file: Path) -> bytes:
    """Return the content of a small file of a cache; an OSError for what is no plain file.

    Reading a named pipe would wait for ever.
    """
    if not file.is_file():
        raise FileNotFoundError(errno.ENOENT, "no plain file", str(file))
    return file.read_bytes()


class CacheEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a cache and the space that it takes."""

    folder: Path
    bytes: int
    used: float
    """When it was last used, in seconds since 1970."""


Kept = TypeVar("Kept", bound=CacheEntry)


def cache_folder() -> Path:
    """Return the folder of all caches of rtl: RTL_CACHE_DIR, or `rtl` in the user's cache folder.

    It may not exist yet. Where the user has no home folder it begins with `~`, which PrivateFolder
    refuses.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    caches = _caches_on_linux()
    if caches is not None:
        return caches / NAME
    from platformdirs import user_cache_path

    try:
        return user_cache_path(NAME, appauthor=False)
    except RuntimeError:  # no home; older versions of platformdirs return a path with `~` then
        return Path("~", ".cache", NAME)


class PrivateFolder:
    """A folder of a cache that only this user can write to, held open while it is used.

    What is kept decides what a model answers, so nobody else may put anything there.
    """

    def __init__(self, folder: Path) -> None:
        """Create the folder where it does not exist.

        Raises OSError where it can't be created, or others could write to it.
        """
        self._descriptor: int | None = None
        if folder.parts[:1] == ("~",):
            raise FileNotFoundError("this user has no home folder")
        self.path = self.place = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.name == "nt":
            return
        _require_safe_parents(folder)
        # From here on the folder is this descriptor: what is renamed to its path is not followed.
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        self._descriptor = os.open(folder, flags)
        try:
            status = os.fstat(self._descriptor)
            if status.st_uid != os.getuid() or status.st_mode & WRITABLE_BY_OTHERS:
                raise PermissionError(errno.EPERM, "not this user's alone", str(folder))
        except OSError:
            self.close()
            raise
        if DESCRIPTORS.is_dir():
            self.place = DESCRIPTORS / str(self._descriptor)

    def close(self) -> None:
        """Let go of the folder; `place` leads nowhere then."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    __del__ = close


def _require_safe_parents(folder: Path) -> None:
    """Raise PermissionError where anyone can rename one of the folders above.

    A folder like /tmp, in which only owners may rename, is safe.
    """
    for parent in folder.absolute().parents:
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise PermissionError(errno.EPERM, "anyone can write to it", str(parent))


def _caches_on_linux() -> Path | None:
    """Return the folder that platformdirs returns, where its rule is simple; else None.

    Importing platformdirs takes 10 ms, a twentieth of the time to a first label.
    """
    if sys.platform != "linux" or "ANDROID_ROOT" in os.environ:
        return None
    chosen, home = (Path(os.environ.get(name, "")) for name in ("XDG_CACHE_HOME", "HOME"))
    if chosen.is_absolute():
        return chosen
    return home / ".cache" if home.is_absolute() else None


def entry_bytes(folder: Path) -> int:
    """Return the size of the files in an entry; what another process removes meanwhile is 0."""
    total = 0
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            with contextlib.suppress(OSError):
                total += file.stat().st_size
    return total


def last_used(record: Path) -> float:
    """Return when a file was last written or touched, in seconds since 1970; 0 where it is gone."""
    try:
        return record.stat().st_mtime
    except OSError:
        return 0.0


def by_last_use(entries: Iterable[Kept]) -> list[Kept]:
    """Return the entries with the longest unused first."""
    return sorted(entries, key=lambda entry: entry.used)


def remove_longest_unused(entries: Sequence[Kept], bytes_to_free: int) -> list[Kept]:
    """Remove entries in the order of `by_last_use` until that many bytes are free.

    Return the removed entries: none where `bytes_to_free` is 0 or less, and all of them where all
    together are too small.
    """
    import shutil  # here and below, because opening a kept model has to be quick

    removed = []
    for entry in entries:
        if bytes_to_free <= 0:
            break
        shutil.rmtree(entry.folder, ignore_errors=True)
        bytes_to_free -= entry.bytes
        removed.append(entry)
    return removed


class Removed(msgspec.Struct, frozen=True):
    """What came of removing a cache."""

    bytes: int
    """What the entries took that are gone."""
    left: int
    """What those take that could not be removed."""
    reason: str | None
    """Why something is left; None where nothing is."""


def remove_all(folder: Path, entries: Iterable[CacheEntry]) -> Removed:
    """Remove a cache's folder, as far as that is possible, and return what came of it."""
    import shutil

    present = list(entries)
    reasons: list[str] = []

    def failed(_: object, __: object, raised: Any) -> None:
        error = raised[1] if isinstance(raised, tuple) else raised
        reasons.append((error.strerror or str(error)).lower())

    if folder.is_dir():
        if sys.version_info >= (3, 12):
            shutil.rmtree(folder, onexc=failed)
        else:
            shutil.rmtree(folder, onerror=failed)
    # Folders without a record are no entries, and take room all the same.
    left = sum(map(entry_bytes, folder.glob("*")))
    reason = reasons[0] if reasons and folder.is_dir() else None
    return Removed(max(sum(entry.bytes for entry in present) - left, 0), left, reason)
