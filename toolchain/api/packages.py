"""What a function of the package raises where an optional package is missing or broken."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from toolchain.errors import ToolchainError
from toolchain.extras import missing_extra

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def names_missing_packages(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return a function that raises MissingExtraError in place of a failed import's own error."""

    @functools.wraps(function)
    def wrapped(*args: Arguments.args, **options: Arguments.kwargs) -> Result:
        try:
            return function(*args, **options)
        except ToolchainError:
            raise
        except Exception as error:
            missing = missing_extra(error)
            if missing is None:
                raise
            raise missing from error

    return wrapped
