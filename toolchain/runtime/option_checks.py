"""Checks of the options of a Predictor; an error names the option and the value."""

from __future__ import annotations

import operator
import os


def path_option(name: str, value: str | os.PathLike[str]) -> str:
    """Return a path as text. Raises TypeError for what is none."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a path (str or os.PathLike), got {value!r}")
    return text


def text_option(name: str, value: str) -> str:
    """Return a text. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {value!r}")
    return value


def count_option(name: str, value: int, *, least: int = 1) -> int:
    """Return an integer of Python or numpy as int.

    Raises TypeError for a bool and what is no integer, ValueError below `least`.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an int, got {value!r}")
    count = operator.index(value)
    if count < least:
        raise ValueError(f"{name} must be at least {least}, got {count}")
    return count


def switch_option(name: str, value: bool) -> bool:
    """Return a bool. Raises TypeError for anything else."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, got {value!r}")
    return value
