"""Processes many items in several threads and yields the results in order, in bounded memory.

Each worker is a thread that decodes some images and computes them as one batch; Pillow's decoders
and onnxruntime release the GIL while they compute. A worker takes images one by one as it decodes
them, so that all workers finish at about the same time. The number of items under way is bounded,
so a million files take no more memory than a hundred. The items are taken from the iterable in the
thread that asks for results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

Item = TypeVar("Item")
WorkResult = TypeVar("WorkResult")

BATCHES_PER_WORKER = 2
"""Batches under way for each worker: one that is computed and one that waits."""
MAX_BYTES_UNDER_WAY = 256 * 1024**2
"""What the items under way may hold together; a single one may be of any size."""


def in_order(
    work: Callable[[Iterable[Item]], list[WorkResult]],
    items: Iterable[Item],
    *,
    batch_size: int,
    workers: int,
) -> Iterator[WorkResult]:
    """Yield the result of each item, in the order of the items, as soon as all before it are done.

    `work` takes up to `batch_size` items and returns a result for each. An error that it raises is
    raised here in place of the first result of its batch; an error that `items` raises is raised
    after the results of the items before it. Close the iterator to stop early: each worker then
    stops after its current item.
    """
    queue = _WorkQueue(work, batch_size)
    max_items = workers * BATCHES_PER_WORKER * batch_size
    remaining = iter(items)
    failure: Exception | None = None
    under_way: deque[tuple[Future[WorkResult], int]] = deque()
    bytes_under_way = 0
    pool = ThreadPoolExecutor(workers, thread_name_prefix="rtl-predict")
    try:
        while True:
            try:
                item = next(remaining)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            under_way.append((queue.add(item), memory_bytes(item)))
            bytes_under_way += under_way[-1][1]
            del item
            pool.submit(queue.process_batch)
            while under_way and (
                under_way[0][0].done()
                or len(under_way) >= max_items
                or bytes_under_way >= MAX_BYTES_UNDER_WAY
            ):
                future, size = under_way.popleft()
                bytes_under_way -= size
                yield future.result()
        while under_way:
            yield under_way.popleft()[0].result()
        if failure is not None:
            raise failure
    finally:
        queue.stopped.set()
        pool.shutdown(cancel_futures=True)


def memory_bytes(item: object) -> int:
    """Return how many bytes the pixels or file of an image take in memory: 0 for a path.

    >>> memory_bytes("lunch.jpg"), memory_bytes(np.zeros((3000, 4000, 3), np.uint8))
    (0, 36000000)
    """
    if isinstance(item, np.ndarray):
        return item.nbytes
    if isinstance(item, Image.Image):
        return item.width * item.height * len(item.getbands())
    return len(item) if isinstance(item, bytes | bytearray | memoryview) else 0


class _WorkQueue(Generic[Item, WorkResult]):
    """Items that wait until a worker is free."""

    def __init__(self, work: Callable[[Iterable[Item]], list[WorkResult]], batch_size: int) -> None:
        self.work, self.batch_size = work, batch_size
        self.stopped = Event()
        self._waiting: deque[tuple[Item, Future[WorkResult]]] = deque()

    def add(self, item: Item) -> Future[WorkResult]:
        """Queue an item and return the future of its result.

        `process_batch` has to be called once for each item.
        """
        future: Future[WorkResult] = Future()
        self._waiting.append((item, future))
        return future

    def process_batch(self) -> None:
        """Process up to `batch_size` of the queued items, if there are any."""
        taken: list[Future[WorkResult]] = []
        try:
            results = self.work(self._take(taken))
            if not self.stopped.is_set():
                for future, result in zip(taken, results, strict=True):
                    future.set_result(result)
        except BaseException as error:
            for future in taken:
                if not future.done():
                    future.set_exception(error)

    def _take(self, taken: list[Future[WorkResult]]) -> Iterator[Item]:
        while len(taken) < self.batch_size and not self.stopped.is_set():
            try:
                item, future = self._waiting.popleft()
            except IndexError:  # other workers took the rest
                return
            taken.append(future)
            yield item
