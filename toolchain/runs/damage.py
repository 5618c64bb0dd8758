"""Files of a run folder that can't be read: one error that names the file and what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from toolchain.errors import DataError

RESTORE = "copy the run folder again from where it is whole, or train again"


@contextlib.contextmanager
def reading(file: Path, *, hint: str = RESTORE) -> Iterator[None]:
    """Turn whatever reading a file of a run raises into a DataError that names the file.

    An edited, cut or foreign file makes decoders raise errors of many classes.
    """
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{file} can't be read: {reason}", hint=hint) from error
    except Exception as error:
        raise damaged(file, error, hint=hint) from error


def damaged(file: Path, reason: Exception | str, *, hint: str = RESTORE) -> DataError:
    """Return the error for a damaged file of a run, with the reason in one line."""
    text = next(iter(str(reason).splitlines()), "") or type(reason).__name__
    for start in (f"{file}: ", f"{file} is "):
        text = text.removeprefix(start)
    return DataError(f"{file} is damaged: {text}", hint=hint)
