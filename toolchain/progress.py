"""How a story tells what it does, without knowing who listens.

The stories (finetune, evaluate, export, …) take a narrator. The command line passes one that draws
progress bars; an app or a test passes nothing and hears nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Narrator(Protocol):
    """Listens to a story."""

    def say(self, text: str) -> None:
        """Take one line that the user should read."""

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Pass the items on while showing how many of `total` have gone by."""


def shown(path: Path) -> str:
    """Give a path as a reader would type it: from the current folder, or from home with `~`."""
    for start, prefix in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path.is_relative_to(start) and path != start:
            return prefix + path.relative_to(start).as_posix()
    return str(path)


def is_speaker() -> bool:
    """Say whether this process speaks: the only one, or the first of those torchrun started."""
    return os.environ.get("RANK", "0") == "0"


class Silent:
    """A narrator that nobody hears."""

    def say(self, text: str) -> None:
        """Drop the line."""

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Pass the items on."""
        return iter(items)
