"""Types of the arguments with their bounds, and the check that a value keeps them.

The bounds are those of the options of the command line, which Click checks there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from toolchain.progress import ProgressReporter
from toolchain.runs.settings import SettingsError

Location = str | os.PathLike[str]
"""A file or a folder."""
Progress = bool | ProgressReporter | None
"""None: silent. True: lines and bars, on the terminal or in the notebook. Or a reporter."""
Count = Annotated[int, Meta(ge=1)]
"""A number of images or threads."""
Workers = Annotated[int, Meta(ge=-1)]
"""Processes that decode images; -1 means one for each core, 0 none beside this one."""
Side = Annotated[int, Meta(ge=32)]
"""A side of the network's input, in pixels."""
Seconds = Annotated[float, Meta(ge=0.1)]
Points = Annotated[float, Meta(ge=0, le=100)]
"""A share in per cent, or a difference of two in points."""
Opset = Annotated[int, Meta(ge=18, le=21)]
CalibrationCount = Annotated[int, Meta(ge=8)]
Split = Literal["auto", "train", "val", "test"]
Device = Literal["auto", "cuda", "mps", "cpu"]
OnError = Literal["continue", "fail"]


def require_valid(**arguments: tuple[Any, Any]) -> None:
    """Check arguments given as `name=(value, type)`.

    Raises SettingsError with the name, the value and what would be allowed.

    >>> require_valid(batch_size=(0, Count))
    Traceback (most recent call last):
    ...
    toolchain.runs.settings.SettingsError: batch_size: 0 is not `int` >= 1
    """
    for name, (value, kind) in arguments.items():
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{name}: {value!r} {_reason(kind, str(error))}") from error


def require_each_valid(**arguments: tuple[tuple[Any, ...], Any]) -> None:
    """Check arguments that hold several values; as `require_valid`."""
    for name, (values, kind) in arguments.items():
        if not values:
            raise SettingsError(f"{name}: none is given")
        for value in values:
            require_valid(**{name: (value, kind)})


def _reason(kind: Any, message: str) -> str:
    """Return why a value is refused: the choices of its type, or what msgspec expected."""
    if get_origin(kind) is not Literal and message.startswith("Expected "):
        return f"is not {message.removeprefix('Expected ').partition(', got')[0]}"
    literals = [part for part in (kind, *get_args(kind)) if get_origin(part) is Literal]
    choices = [choice for literal in literals for choice in get_args(literal)]
    return f"is not one of {', '.join(map(repr, choices))}"


def path_text(path: Location | None) -> str | None:
    """Return a path as text; None stays None."""
    return None if path is None else os.fspath(path)


def path_texts(paths: Location | Sequence[Location]) -> tuple[str, ...]:
    """Return one path or several as texts."""
    if isinstance(paths, str | os.PathLike):
        return (os.fspath(paths),)
    return tuple(os.fspath(path) for path in paths)


def several(values: Any) -> tuple[Any, ...]:
    """Return the values of an argument that may be one value or a sequence of them."""
    if isinstance(values, Sequence) and not isinstance(values, str):
        return tuple(values)
    return (values,)
