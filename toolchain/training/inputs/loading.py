"""Images read by worker processes, or by this process where it can't have any.

What is around a training can take its workers away: a container has 64 MB of shared memory, memory
runs out, a limit on processes or files is met. None of that may make the training wait for a batch
that does not come, so a worker either delivers or ends, and its end is an error of the training.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.queues
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from toolchain.errors import ToolchainError

Loaded = Tensor | NDArray[np.uint8] | ToolchainError
"""Pixels uint8 [size, size, 3] of one image or [batch, size, size, 3] of a batch.

An error takes their place on the way from a worker process, which would otherwise add a page of
traceback to it. A numpy array is a batch that did not fit into shared memory.
"""
Report = Callable[[str], None]
"""Shows one line to the user."""
CANNOT_DELIVER = 3
"""The exit status of a worker that can't send what it has read."""
STOP_SIGNALS = {
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
}


class ImageLoader:
    """Loads batches of a dataset, once in each iteration; its workers stay between them."""

    def __init__(
        self,
        dataset: Dataset[Loaded],
        batches: Iterable[list[Any]],
        workers: int,
        report: Report | None = None,
    ) -> None:
        """`batches` are the keys of each batch's items, and `workers` how many processes read.

        `report` gets a line where there can't be any.
        """
        self.dataset, self.batches, self.workers = dataset, batches, workers
        self.report = report
        self.loader: DataLoader[Loaded] | None = None
        _LOADERS.add(self)

    def __iter__(self) -> Iterator[Loaded]:
        """Yield each batch, uint8 [batch, size, size, 3], or the first error among its images."""
        return _delivered(self._started())

    def _started(self) -> Iterator[Loaded]:
        self.loader = self.loader or self._new_loader()
        try:
            with _stop_signals_blocked(), _no_error_from_anywhere():
                return iter(self.loader)
        except (OSError, ImportError) as error:
            if not self.workers:
                raise
            _end_half_started(error)
            reason = getattr(error, "strerror", None) or str(error)
            if self.report is not None:
                self.report(
                    f"one process reads the images: no workers can be started ({reason.lower()}; "
                    "in a container, --shm-size gives it more shared memory)"
                )
            self.workers, self.loader = 0, None
            return self._started()

    def _new_loader(self) -> DataLoader[Loaded]:
        return DataLoader(
            self.dataset,
            batch_sampler=self.batches,
            num_workers=self.workers,
            collate_fn=collate,
            worker_init_fn=_begin_worker,
            # Without it a DataLoader draws a number from torch's global generator in each epoch.
            generator=torch.Generator(),
            persistent_workers=self.workers > 0,
        )


def _delivered(batches: Iterator[Loaded]) -> Iterator[Loaded]:
    """Yield `batches`; raise a RuntimeError that names the signal where one ended a worker.

    Torch finds a worker gone while it waits for a batch, and does not always say how it ended.
    Where the batch was announced and its memory is not handed over any more, the error of that
    connection comes instead.
    """
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except (EOFError, OSError, RuntimeError) as error:
            ended = _ended_worker(getattr(batches, "_workers", ()))
            if ended is None:
                raise
            raise RuntimeError(ended) from error
        yield batch


def _ended_worker(workers: Sequence[multiprocessing.Process]) -> str | None:
    """Return what torch says of the first of `workers` that has ended, within a second."""
    if not workers:
        return None
    closed = multiprocessing.connection.wait([worker.sentinel for worker in workers], timeout=1)
    for worker in (worker for worker in workers if worker.sentinel in closed):
        worker.join(1)  # its files are closed a moment before its exit status is known
        if worker.exitcode is not None and worker.exitcode < 0:
            name = signal.strsignal(-worker.exitcode) or str(-worker.exitcode)
            return f"DataLoader worker (pid {worker.pid}) is killed by signal: {name}."
        if worker.exitcode:
            return f"DataLoader worker (pid(s) {worker.pid}) exited unexpectedly"
    return None


def collate(items: list[Loaded]) -> Loaded:
    """Return the images of a batch stacked, or the first error among them.

    In a worker process they are stacked in shared memory where there is room for them.
    """
    pixels: list[Tensor] = []
    for item in items:
        if isinstance(item, ToolchainError):
            return item
        pixels.append(torch.as_tensor(item))
    if torch.utils.data.get_worker_info() is None:
        return torch.stack(pixels)
    shape = (len(pixels), *pixels[0].shape)
    try:
        # Here and not while it is sent: there an error would be lost, and the batch with it.
        storage = torch.UntypedStorage._new_shared(pixels[0].nbytes * len(pixels))
    except (RuntimeError, OSError):
        return torch.stack(pixels).numpy()
    return torch.stack(pixels, out=torch.empty(0, dtype=torch.uint8).set_(storage).view(shape))


def _begin_worker(_: int) -> None:
    """Leave signals to the training process, and never live on without sending a batch."""
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    # A batch that can't be sent is dropped with a traceback, and the training waits for it.
    setattr(multiprocessing.queues.Queue, "_on_queue_feeder_error", staticmethod(_end_worker))  # noqa: B010  (not in its stubs)


def _end_worker(error: BaseException, batch: object) -> NoReturn:
    os._exit(CANNOT_DELIVER)


@contextlib.contextmanager
def _stop_signals_blocked() -> Iterator[None]:
    """Keep signals from processes that are started here until they have their own handlers."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _no_error_from_anywhere() -> Iterator[None]:
    """Take back the handler by which torch raises the end of a worker wherever the program is then.

    It would hit the best epoch while that is written. Without it the end of a worker is found where
    the next batch is waited for, within five seconds.
    """
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        if before is not None and signal.getsignal(signal.SIGCHLD) is not before:
            signal.signal(signal.SIGCHLD, before)


def _end_half_started(error: BaseException) -> None:
    """End the workers that were started before one could not be, which torch leaves behind."""
    trace = error.__traceback__
    while trace is not None:
        frame: FrameType = trace.tb_frame
        iterator = frame.f_locals.get("self")
        if type(iterator).__name__ == "_MultiProcessingDataLoaderIter":
            _end_workers_of(iterator)
        trace = trace.tb_next


def end_workers() -> None:
    """End the worker processes of all loaders.

    Where one was killed, ending the others by torch's own means may wait for a lock that it holds.
    """
    for loader in list(_LOADERS):
        iterator = getattr(loader.loader, "_iterator", None)
        loader.loader = None
        if iterator is not None:
            _end_workers_of(iterator)


def _end_workers_of(iterator: Any) -> None:
    iterator._shutdown = True  # nothing is left for its destructor to do
    if getattr(iterator, "_worker_pids_set", False):
        torch._C._remove_worker_pids(id(iterator))
        iterator._worker_pids_set = False
    workers = getattr(iterator, "_workers", ())
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join(5)
    for queue in getattr(iterator, "_index_queues", ()):
        queue.cancel_join_thread()
        queue.close()


_LOADERS: weakref.WeakSet[ImageLoader] = weakref.WeakSet()
