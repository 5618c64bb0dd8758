"""Where everything lies that can be made again: RTL_CACHE_DIR, or the user's cache folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CACHE_VARIABLE = "RTL_CACHE_DIR"
NAME = "rtl"


def cache_folder() -> Path:
    """Return the folder of all caches of rtl; it may not be there yet.

    RuntimeError where the user has no home.
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
    """Return what platformdirs would, where that is plain; else None.

    Importing platformdirs takes 10 ms, a twentieth of a first label.
    """
    if sys.platform != "linux" or "ANDROID_ROOT" in os.environ:
        return None
    chosen, home = (Path(os.environ.get(name, "")) for name in ("XDG_CACHE_HOME", "HOME"))
    if chosen.is_absolute():
        return chosen
    return home / ".cache" if home.is_absolute() else None
