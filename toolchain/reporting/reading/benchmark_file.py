"""A benchmark as the report reads it: a JSON file of `rtl bench`, of this rtl or an older one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from toolchain.machine import Machine
from toolchain.runs.damage import reading

MOST_JSON_BYTES = 1 << 26
"""Larger files are not read."""


class BenchmarkRow(msgspec.Struct, frozen=True, kw_only=True):
    """One target at one batch size: the keys that the report shows."""

    target: str
    model: str
    provider: str
    threads: int
    batch_size: Annotated[int, msgspec.Meta(ge=1)]
    verdict: str
    p50_ms: float
    p90_ms: float
    p99_ms: float
    images_per_s: float
    ratio_to_first: float | None = None
    peak_memory_mb: float | None = None


class PauseRow(msgspec.Struct, frozen=True, kw_only=True):
    """One target called after pauses."""

    target: str
    provider: str
    pause_s: float
    p50_ms: float
    ratio_to_back_to_back: float


class BenchmarkFile(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of a benchmark that the report shows; those that came later have defaults."""

    verdict: str
    machine: Machine
    results: list[BenchmarkRow]
    pauses: list[PauseRow] = []


def read_benchmark(file: Path) -> BenchmarkFile:
    """Return a benchmark; raise DataError for a file that is none."""
    with reading(file, hint="rtl bench RUN writes a new one"):
        if file.stat().st_size > MOST_JSON_BYTES:
            raise ValueError("it is too large to be a benchmark")
        return msgspec.json.decode(file.read_bytes(), type=BenchmarkFile)
