"""`rtl predict` run in this process, and the rows it printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple


class CommandResult(NamedTuple):
    """The exit status and the two streams of a command."""

    status: int
    out: bytes
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return read_rows(self.out)


Predict = Callable[..., CommandResult]


def read_rows(data: bytes) -> list[dict[str, Any]]:
    """Return the objects of JSON lines."""
    return [json.loads(line) for line in data.split(b"\n") if line]
