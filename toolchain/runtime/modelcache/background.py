"""A function that runs in a thread while the caller does something else."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

WorkResult = TypeVar("WorkResult")


class BackgroundTask(Generic[WorkResult]):
    """Starts `work` in a thread, where another thread can be started.

    It saves time where `work`, or what the caller does meanwhile, releases the GIL.
    """

    def __init__(self, work: Callable[[], WorkResult]) -> None:
        self._work = work
        self._results: list[WorkResult] = []
        self._thread: Thread | None = Thread(target=self._run)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads can be started, or the interpreter is shutting down
            self._thread = None

    def result(self) -> WorkResult:
        """Wait for the thread and return the result of `work`.

        Without a thread, or where `work` failed in it, `work` is called here and raises here.
        """
        if self._thread is not None:
            self._thread.join()
        if not self._results:
            self._run()
        return self._results[0]

    def _run(self) -> None:
        self._results.append(self._work())
