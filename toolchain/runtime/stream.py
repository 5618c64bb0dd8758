"""Many images in order: decoding and inference overlap, and memory stays flat.

Each worker is a thread that decodes a batch and runs it; Pillow's decoders and onnxruntime let go of
Python's lock while they compute. No more than a few batches are under way at once, so a million
files take no more memory than a hundred.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")

AHEAD = 2
"""Batches under way for each worker: one that computes and one that waits for it."""


def in_order(
    work: Callable[[list[Item]], list[Result]],
    items: Iterable[Item],
    *,
    batch_size: int,
    workers: int,
) -> Iterator[Result]:
    """Give the result of each item, in the items' order, as soon as those before it are given.

    An error that `work` raises is raised here, at its place; what is under way is finished first.
    """
    remaining = iter(items)
    with ThreadPoolExecutor(workers, thread_name_prefix="rtl-predict") as pool:
        under_way: deque[Future[list[Result]]] = deque()
        while batch := list(islice(remaining, batch_size)):
            under_way.append(pool.submit(work, batch))
            if len(under_way) >= workers * AHEAD:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()
