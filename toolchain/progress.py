"""How a story tells what it does, without knowing who listens.

The stories (finetune, evaluate, export, …) take a narrator. The command line passes one that draws
progress bars; an app or a test passes nothing and hears nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class ProgressReporter(Protocol):
    """Listens to a story."""

    def message(self, text: str) -> None:
        """Take one line that the user should read."""

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Pass the items on while showing how many of `total` have gone by."""


def is_rank_zero() -> bool:
    """Say whether this process speaks: the only one, or the first of those torchrun started."""
    return os.environ.get("RANK", "0") == "0"


class SilentReporter:
    """A narrator that nobody hears."""

    def message(self, text: str) -> None:
        """Drop the line."""

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Pass the items on."""
        return iter(items)
