"""Where everything lies that can be made again: RTL_CACHE_DIR, or the user's cache folder."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "RTL_CACHE_DIR"


def cache_folder() -> Path:
    """Give the folder of all caches of rtl; it may not be there yet."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    from platformdirs import user_cache_path  # here, because it takes its time

    return user_cache_path("rtl", appauthor=False)
