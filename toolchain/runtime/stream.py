"""Many items in order: several are worked on at once, and memory stays flat.

Each worker is a thread that decodes a few images and computes them together; Pillow's decoders and
onnxruntime let go of Python's lock while they compute. A worker takes one image after the other as
it gets to them, so that all end at about the same time. Only so many are under way at once, so a
million files take no more memory than a hundred. The items are drawn in the thread that asks for
results.
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
Result = TypeVar("Result")

AHEAD = 2
"""Batches under way for each worker: one that computes and one that waits for it."""
MOST_BYTES = 256 * 1024**2
"""What the items under way may hold together, but for a single one, which may be of any size."""


def in_order(
    work: Callable[[Iterable[Item]], list[Result]],
    items: Iterable[Item],
    *,
    batch_size: int,
    workers: int,
) -> Iterator[Result]:
    """Yield the result of each item, in the items' order, as soon as those before it are given.

    `work` gets up to `batch_size` items. An error that it raises is raised here at the place of the
    first of them, and an error that comes out of `items` after the results of those before it.
    Whoever stops early should close the iterator: each worker then stops after the item it is at.
    """
    crew = _Crew(work, batch_size)
    most = workers * AHEAD * batch_size
    remaining = iter(items)
    failure: Exception | None = None
    under_way: deque[tuple[Future[Result], int]] = deque()
    held = 0
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
            under_way.append((crew.add(item), held_bytes(item)))
            held += under_way[-1][1]
            del item
            pool.submit(crew.work_on)
            while under_way and (
                under_way[0][0].done() or len(under_way) >= most or held >= MOST_BYTES
            ):
                future, weight = under_way.popleft()
                held -= weight
                yield future.result()
        while under_way:
            yield under_way.popleft()[0].result()
        if failure is not None:
            raise failure
    finally:
        crew.stopped.set()
        pool.shutdown(cancel_futures=True)


def held_bytes(item: object) -> int:
    """Return about how much memory an image holds while it waits; a path holds none of it.

    >>> held_bytes("lunch.jpg"), held_bytes(np.zeros((3000, 4000, 3), np.uint8))
    (0, 36000000)
    """
    if isinstance(item, np.ndarray):
        return item.nbytes
    if isinstance(item, Image.Image):
        return item.width * item.height * len(item.getbands())
    return len(item) if isinstance(item, bytes | bytearray | memoryview) else 0


class _Crew(Generic[Item, Result]):
    """Items that wait for whichever worker is free."""

    def __init__(self, work: Callable[[Iterable[Item]], list[Result]], batch_size: int) -> None:
        self.work, self.batch_size = work, batch_size
        self.stopped = Event()
        self._waiting: deque[tuple[Item, Future[Result]]] = deque()

    def add(self, item: Item) -> Future[Result]:
        """Let an item wait; `work_on` is to be called once for each."""
        future: Future[Result] = Future()
        self._waiting.append((item, future))
        return future

    def work_on(self) -> None:
        """Work on some of what waits, if anything does."""
        taken: list[Future[Result]] = []
        try:
            results = self.work(self._take(taken))
            if not self.stopped.is_set():
                for future, result in zip(taken, results, strict=True):
                    future.set_result(result)
        except BaseException as error:
            for future in taken:
                if not future.done():
                    future.set_exception(error)

    def _take(self, taken: list[Future[Result]]) -> Iterator[Item]:
        while len(taken) < self.batch_size and not self.stopped.is_set():
            try:
                item, future = self._waiting.popleft()
            except IndexError:  # others were faster
                return
            taken.append(future)
            yield item
