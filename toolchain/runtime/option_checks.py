"""Checks of the options of a Predictor; an error names the option and the value."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from toolchain.errors import shown_value

Item = TypeVar("Item")

MAX_THREADS = 1024
"""More are a mistake: a process can hardly start as many, and onnxruntime waits for each."""


def path_option(name: str, value: str | os.PathLike[str]) -> str:
    """Return a path as text. Raises TypeError for what is none."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a path (str or os.PathLike), got {shown_value(value)}")
    return text


def text_option(name: str, value: str) -> str:
    """Return a text. Raises TypeError for anything else."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {shown_value(value)}")
    return value


def count_option(name: str, value: int, *, least: int = 1) -> int:
    """Return an integer of Python or numpy as int.

    Raises TypeError for a bool and what is no integer, ValueError below `least`.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an int, got {shown_value(value)}")
    count = operator.index(value)
    if count < least:
        raise ValueError(f"{name} must be at least {least}, got {count}")
    return count


def threads_option(name: str, value: int) -> int:
    """Return a number of threads as int. Raises TypeError or ValueError as `count_option` does."""
    count = count_option(name, value)
    if count > MAX_THREADS:
        raise ValueError(f"{name} must be at most {MAX_THREADS}, got {count}")
    return count


def choice_option(name: str, value: str, choices: tuple[str, ...]) -> str:
    """Return one of some texts. Raises TypeError or ValueError for anything else."""
    if text_option(name, value) not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {shown_value(value)}")
    return value


def switch_option(name: str, value: bool) -> bool:
    """Return a bool. Raises TypeError for anything else."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, got {shown_value(value)}")
    return value


def iterator_of_images(images: Iterable[Item]) -> Iterator[Item]:
    """Return an iterator of several images. Raises TypeError for a single image and for no images.

    A str is an iterable of letters, an open file one of lines, and each would be taken for an
    image.
    """
    from toolchain.runtime.image.wrong_kind import kind_of_many

    wrong = kind_of_many(images)
    if wrong is not None:
        raise TypeError(f"images must be an iterable of images, got {wrong.what}: {wrong.hint}")
    return iter(images)
