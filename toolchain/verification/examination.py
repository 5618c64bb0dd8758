"""Run one comparison of a judged file, so that nothing in the file can end the verification.

A file that is judged may be anything. What can't be computed or compared is a failed level that
says what was compared; the other levels go on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from traceback import extract_tb
from typing import TypeVar

from toolchain.errors import (
    ImageError,
    ModelFileError,
    ParityError,
    ProviderError,
    ToolchainError,
)
from toolchain.verification.result import Level, failed

logger = logging.getLogger(__name__)
"""Has the traceback of what became a failed level; `rtl --traceback` shows it."""
Result = TypeVar("Result")
Where = Callable[[], "str | None"]
"""Describes the place of a fault, where one is known."""

ABOUT_THE_FILE = (ModelFileError, ParityError, ImageError)
"""Errors that say what is wrong with the file in words of their own."""
SHOWN_CHARACTERS = 300
"""Of the message of an unexpected error, which may quote anything in the file."""


def examined(
    level: str, against: str, compare: Callable[[], Level], where: Where = lambda: None
) -> Level:
    """Return the level that `compare` gives, or a failed one where it raises an error."""
    return attempted(level, against, compare, where)


def attempted(
    level: str, against: str, compute: Callable[[], Result], where: Where = lambda: None
) -> Result | Level:
    """Return what `compute` gives, or a failed level where it raises an error.

    `where` is asked for the place of the fault when `compute` says that the file can't be computed.
    Errors about what the file is compared with, such as a missing package, go through.
    """
    try:
        return compute()
    except ABOUT_THE_FILE as error:
        return failed(level, against, str(error), where=where())
    except ProviderError as error:
        return failed("sessions", against, str(error), where=f"the provider: {error}")
    except (ToolchainError, ImportError):
        raise
    except Exception as error:  # whatever the content of a file makes a library raise
        logger.debug("the level %s against the %s failed", level, against, exc_info=error)
        return failed(level, against, _unexpected(error))


def _unexpected(error: Exception) -> str:
    """Return a sentence for an error that the content of a file led to, with its place in rtl."""
    reason = (str(error).splitlines() or [""])[0][:SHOWN_CHARACTERS]
    frames = [frame for frame in extract_tb(error.__traceback__) if "toolchain" in frame.filename]
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return (
        "it can't be compared, because it holds what no file of rtl does "
        f"({type(error).__name__}{place}: {reason})"
    )
