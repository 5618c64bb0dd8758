"""Types of the arguments with their bounds, and the checks that a value keeps them.

The bounds are those of the options of the command line, which Click checks there. Each check
returns the value to go on with, and raises SettingsError with the name and the value.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from toolchain.errors import SettingsError, shown_value
from toolchain.progress import ProgressReporter
from toolchain.progress_bar import progress_reporter
from toolchain.runtime.option_checks import MAX_THREADS

Value = TypeVar("Value")
Location = str | os.PathLike[str]
"""A file or a folder."""
Progress = bool | ProgressReporter | None
"""None: silent. True: lines and bars, on the terminal or in the notebook. Or a reporter."""
Count = Annotated[int, Meta(ge=1)]
"""A number of images."""
Threads = Annotated[int, Meta(ge=1, le=MAX_THREADS)]
NotNegative = Annotated[int, Meta(ge=0)]
Workers = Annotated[int, Meta(ge=-1)]
"""Processes that decode images; -1 means one for each core, 0 none beside this one."""
Side = Annotated[int, Meta(ge=32)]
"""A side of the network's input, in pixels."""
Processes = Annotated[int, Meta(ge=0, le=MAX_THREADS)]
Pause = Annotated[float, Meta(gt=0)]
"""Seconds."""
Percentile = Literal["p50", "p90", "p99"]
Scenario = Literal["single-stream", "multi-stream", "offline", "server"]
Percentage = Annotated[float, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0.1, le=3600)]
Points = Annotated[float, Meta(ge=0, le=100)]
"""A share in per cent, or a difference of two in points."""
Opset = Annotated[int, Meta(ge=18, le=21)]
CalibrationCount = Annotated[int, Meta(ge=8)]
Split = Literal["auto", "train", "val", "test"]
Device = Literal["auto", "cuda", "mps", "cpu"]
OnError = Literal["continue", "fail"]
OnNonfinite = Literal["raise", "keep"]


def checked(name: str, value: Value, kind: Any) -> Value:
    """Return the value of an argument, where it is of a type; scalars of numpy as Python's.

    Raises SettingsError with the name, the value and what would be allowed.

    >>> checked("batch_size", 0, Count)
    Traceback (most recent call last):
    ...
    toolchain.errors.SettingsError: batch_size: 0 is not `int` >= 1
    """
    value = without_numpy(value)
    # Before the bounds: infinity is above an upper one, which would say less.
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"{name}: {value} is not a finite number")
    try:
        found: Value = msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"{name}: {shown_value(value)} {_reason(kind, str(error))}") from error
    return found


def checked_each(name: str, values: Any, kind: Any, *, none: bool = False) -> tuple[Any, ...]:
    """Return the values of an argument that may be one or a sequence, as `checked`.

    An empty sequence is allowed with `none` only.
    """
    found = several(values)
    if not (found or none):
        raise SettingsError(f"{name}: none is given")
    return tuple(checked(name, value, kind) for value in found)


def _reason(kind: Any, message: str) -> str:
    """Return why a value is refused: the choices of its type, or what msgspec expected."""
    parts = (kind, *get_args(kind))
    choices = [
        repr(choice) for part in parts if get_origin(part) is Literal for choice in get_args(part)
    ]
    numbers = [part for part in parts if get_origin(part) is Annotated and part is not kind]
    if choices and numbers:
        return f"is not {' or '.join(choices)} or `int` >= {numbers[0].__metadata__[0].ge}"
    if choices:
        return f"is not one of {', '.join(choices)}"
    expected = message.removeprefix("Expected ").partition(", got")[0]
    return f"is not {expected.replace('| null', '| None')}"


def checked_path(name: str, value: object) -> str:
    """Return a path as text. Raises SettingsError for what is none, or has a null character."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise SettingsError(f"{name}: {shown_value(value)} is not a path (`str` or `os.PathLike`)")
    if "\0" in text:
        raise SettingsError(f"{name}: {shown_value(text)} has a null character in it")
    return text


def optional_path(name: str, value: object) -> str | None:
    """Return a path as text, as `checked_path`; None stays None."""
    return None if value is None else checked_path(name, value)


def checked_paths(name: str, values: object) -> tuple[str, ...]:
    """Return one path or several as texts, as `checked_path`."""
    values = without_numpy(values)
    if isinstance(values, str | bytes | os.PathLike) or not isinstance(values, Iterable):
        values = (values,)
    return tuple(checked_path(name, value) for value in values)


def checked_progress(progress: Progress) -> ProgressReporter:
    """Return the reporter that the argument `progress` stands for."""
    progress = without_numpy(progress)
    if progress is None or isinstance(progress, bool):
        return progress_reporter(progress)
    methods = [getattr(progress, name, None) for name in ("message", "track")]
    if isinstance(progress, type) or not all(callable(method) for method in methods):
        raise SettingsError(
            f"progress: {shown_value(progress)} is not `bool`, None, or an object with the methods "
            "`message` and `track`"
        )
    return progress


def several(values: Any) -> tuple[Any, ...]:
    """Return the values of an argument that may be one value or a sequence of them."""
    values = without_numpy(values)
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return tuple(values)
    return (values,)


def without_numpy(value: Any) -> Any:
    """Return a scalar or an array of numpy as Python's own; any other value as it is.

    numpy is not imported for it: a value of numpy exists only where it has been.
    """
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic | numpy.ndarray):
        return value.tolist()
    return value
