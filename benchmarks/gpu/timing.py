"""Times a call: on the clock until its result is there, and on the GPU between two CUDA events."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.gpu.job import Row

LEAST_CALLS, MOST_CALLS = 5, 2000
WARM_UP_SHARE = 0.25
"""Part of the time that goes into calls before those that count."""


def timed(call: Callable[[], object], *, seconds: float, images: int, cuda: bool) -> Row:
    """Return median and 90th percentile of a call in ms, its median on the GPU, and images/s.

    `call` may return before the GPU is done; with `cuda` it is waited for. Its work must be on
    torch's current stream, where the events are.
    """
    started = time.perf_counter()
    one_call(call, cuda)
    first_s = time.perf_counter() - started
    clock_ms: list[float] = []
    device_ms: list[float] = []
    counts_from = time.perf_counter() + seconds * WARM_UP_SHARE
    while time.perf_counter() < counts_from:
        one_call(call, cuda)
    ends = time.perf_counter() + seconds
    while len(clock_ms) < LEAST_CALLS or time.perf_counter() < ends:
        on_clock, on_device = one_call(call, cuda)
        clock_ms.append(on_clock)
        if on_device is not None:
            device_ms.append(on_device)
        if len(clock_ms) == MOST_CALLS:
            break
    p50 = statistics.median(clock_ms)
    return {
        "call_ms": round(p50, 4),
        "p90_ms": round(statistics.quantiles(clock_ms, n=10)[-1], 4),
        "device_ms": round(statistics.median(device_ms), 4) if device_ms else None,
        "images_per_s": round(images / p50 * 1000, 1),
        "calls": len(clock_ms),
        "first_call_s": round(first_s, 3),
    }


def one_call(call: Callable[[], object], cuda: bool) -> tuple[float, float | None]:
    """Return the milliseconds of one call: on the clock, and between events on the GPU."""
    if not cuda:
        started = time.perf_counter()
        call()
        return (time.perf_counter() - started) * 1000, None
    begin, end = events()
    started = time.perf_counter()
    begin.record()
    call()
    end.record()
    end.synchronize()
    on_clock = (time.perf_counter() - started) * 1000
    return on_clock, float(begin.elapsed_time(end))


def events() -> tuple[Any, Any]:
    """Return two CUDA events that note the time."""
    import torch

    return torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
