"""The caches on the disk: where their folder lies, and how a bounded one is listed and emptied.

A cache is a folder with one folder for each entry. What an entry holds, how large a cache may
become and which entries have to stay is decided where the cache is: `modelcache/store.py` and
`training/features/store.py`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

CACHE_VARIABLE = "RTL_CACHE_DIR"
NAME = "rtl"


class CacheEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a cache and the space that it takes."""

    folder: Path
    bytes: int
    used: float
    """When it was last used, in seconds since 1970."""


Kept = TypeVar("Kept", bound=CacheEntry)


def cache_folder() -> Path:
    """Return the folder of all caches of rtl: RTL_CACHE_DIR, or `rtl` in the user's cache folder.

    It may not exist yet. Raises RuntimeError where the user has no home folder.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    caches = _caches_on_linux()
    if caches is not None:
        return caches / NAME
    from platformdirs import user_cache_path

    return user_cache_path(NAME, appauthor=False)


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


def remove_all(folder: Path, entries: Iterable[CacheEntry]) -> int:
    """Remove a cache's folder and return how many bytes its entries took."""
    import shutil

    freed = sum(entry.bytes for entry in entries)
    shutil.rmtree(folder, ignore_errors=True)
    return freed
