"""A function that runs in a thread while the caller does something else."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class BackgroundTask(Generic[Answer]):
    """Starts `work` in a thread, where another thread can be started.

    It saves time where `work`, or what the caller does meanwhile, releases the GIL.
    """

    def __init__(self, work: Callable[[], Answer]) -> None:
        self._work = work
        self._answers: list[Answer] = []
        self._thread: Thread | None = Thread(target=self._run)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads can be started, or the interpreter is shutting down
            self._thread = None

    def result(self) -> Answer:
        """Wait for the thread and return the result of `work`.

        Without a thread, or where `work` failed in it, `work` is called here and raises here.
        """
        if self._thread is not None:
            self._thread.join()
        if not self._answers:
            self._run()
        return self._answers[0]

    def _run(self) -> None:
        self._answers.append(self._work())
