"""Paths in the settings as files hold them: not UTF-8 as file URIs, handed on as names alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from toolchain.files import unicode_name

PATHS = ("data", "target", "weights", "exclude")
"""Settings that may be paths."""
FILE_URI = "file://"


def written_path(path: str) -> str:
    """Return a path as text that TOML can hold: a file URI where its name is not UTF-8."""
    return path if unicode_name(path) == path else Path(path).as_uri()


def read_path(text: str) -> str:
    """Return the path that `written_path` has written."""
    if not text.startswith(FILE_URI):
        return text
    return os.fsdecode(unquote_to_bytes(text.removeprefix(FILE_URI)))


def with_read_paths(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of settings with their paths read."""
    found = {name: values[name] for name in PATHS if isinstance(values.get(name), str)}
    return values | {name: read_path(path) for name, path in found.items()}


def path_name(path: str) -> str:
    """Return the last part of a path as text that UTF-8 can hold, for a file that is handed on.

    >>> path_name("/home/ann/photos")
    'photos'
    """
    return unicode_name(Path(path).name)
