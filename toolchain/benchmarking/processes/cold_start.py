"""Cold start: fresh processes that import, open a model and say the label of an image.

With a cold cache the file is not in the system's memory, and the model cache is empty; with a warm
one another process has opened the same file just before. The libraries' own files are in the
system's memory in both.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Literal

import msgspec

from toolchain.benchmarking.processes.targets import Target
from toolchain.errors import RefusedError
from toolchain.openmp import user_environment

PROCESSES = 5
Cache = Literal["cold", "warm"]


class Started(msgspec.Struct, frozen=True):
    """What a fresh process says: how long each step took, and its peak memory."""

    import_ms: float
    open_ms: float
    first_label_ms: float
    peak_memory_mb: float | None


class ColdStart(msgspec.Struct, frozen=True, kw_only=True):
    """Medians over some fresh processes. The fields are described in docs/json.md."""

    target: str
    provider: str
    threads: int
    spin: bool = False
    cache: Cache
    processes: int
    interpreter_ms: float
    import_ms: float
    open_ms: float
    first_label_ms: float
    total_ms: float
    total_range_ms: tuple[float, float]
    peak_memory_mb: float | None


def measure_cold_start(target: Target, image: Path, cache: Cache) -> ColdStart:
    """Return the medians of fresh processes with a cache in one state.

    Raises RefusedError where a process fails.
    """
    found: list[tuple[Started, float]] = []
    with tempfile.TemporaryDirectory(prefix="rtl-bench-cache-") as folder:
        if cache == "warm":
            _one_process(target, image, Path(folder))
        for number in range(PROCESSES):
            place = Path(folder, str(number)) if cache == "cold" else Path(folder)
            place.mkdir(exist_ok=True)
            if cache == "cold":
                forget_pages(target.path)
            found.append(_one_process(target, image, place))
    totals = [total for _, total in found]
    steps = {
        name: statistics.median(getattr(one, name) for one, _ in found)
        for name in ("import_ms", "open_ms", "first_label_ms")
    }
    memory = [one.peak_memory_mb for one, _ in found if one.peak_memory_mb is not None]
    return ColdStart(
        target=target.name,
        provider=target.provider,
        threads=target.threads,
        spin=target.spin,
        cache=cache,
        processes=PROCESSES,
        interpreter_ms=statistics.median(
            total - one.import_ms - one.open_ms - one.first_label_ms for one, total in found
        ),
        **steps,
        total_ms=statistics.median(totals),
        total_range_ms=(min(totals), max(totals)),
        peak_memory_mb=statistics.median(memory) if memory else None,
    )


def forget_pages(file: Path) -> None:
    """Ask the system to drop a file from its memory, where it can be asked."""
    if not hasattr(os, "posix_fadvise"):
        return
    opened = os.open(file, os.O_RDONLY)
    try:
        os.fsync(opened)  # pages that are not written yet can't be dropped
        os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(opened)


def _one_process(target: Target, image: Path, cache: Path) -> tuple[Started, float]:
    """Return what one process says, and the ms from its start until it had the label."""
    kind = "torch" if zipfile.is_zipfile(target.path) else "onnx"
    words = (kind, target.path, image, target.provider, target.threads, int(target.spin))
    started = time.perf_counter()
    with subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "toolchain.benchmarking.processes.first_label",
            *map(str, words),
        ],
        env=user_environment() | {"RTL_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        total_ms = (time.perf_counter() - started) * 1e3
        _, errors = process.communicate()
    if process.returncode or not line:
        last = (errors.strip().splitlines() or [f"status {process.returncode}"])[-1]
        raise RefusedError(f"{target.name} does not start in a fresh process: {last}")
    return msgspec.json.decode(line, type=Started), total_ms
