"""Something that is found out while something else is done."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class BackgroundTask(Generic[Answer]):
    """Begins to work something out in a thread, where there may be one more.

    It pays where the work or what is done beside it lets go of Python's lock.
    """

    def __init__(self, work: Callable[[], Answer]) -> None:
        self._work = work
        self._found: list[Answer] = []
        self._thread: Thread | None = Thread(target=self._find)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads here, or the interpreter is ending
            self._thread = None

    def result(self) -> Answer:
        """Return what was found; where the thread failed, it is tried here, and raises here."""
        if self._thread is not None:
            self._thread.join()
        if not self._found:
            self._find()
        return self._found[0]

    def _find(self) -> None:
        self._found.append(self._work())
