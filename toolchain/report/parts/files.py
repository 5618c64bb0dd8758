"""The parts about the exported files: parity, and speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from toolchain.benchmarking.result import Benchmark
from toolchain.display import megabytes, percent
from toolchain.report.reading.sources import ModelFile
from toolchain.verification.result import Level


class Column(NamedTuple):
    """One level of verification against one reference."""

    level: str
    against: str


class Verdict(NamedTuple):
    """One level of one file; `passed` is None where it was not compared."""

    passed: bool | None
    summary: str


@dataclass(frozen=True)
class Parity:
    """Files against levels."""

    columns: list[Column]
    rows: list[tuple[ModelFile, str, list[Verdict]]]
    """(file, its size, a verdict for each column)."""
    details: list[tuple[str, Sequence[Level]]]
    """(file, its levels with rule and figures)."""


class Speed(NamedTuple):
    """One row of a benchmark."""

    target: str
    provider: str
    batch: int
    threads: int
    p50: float
    p90: float
    p99: float
    per_second: float
    ratio: str
    memory: str
    noisy: bool
    share: float
    """Of the slowest median for an image, in 0…1, for a bar."""


@dataclass(frozen=True)
class Measurement:
    """One benchmark."""

    machine: str
    versions: str
    rows: list[Speed]
    accuracies: list[tuple[str, str]]
    noisy: bool


def parity(models: Sequence[ModelFile]) -> Parity | None:
    """Return files × levels; None where nothing is exported."""
    if not models:
        return None
    columns: list[Column] = []
    for model in models:
        for level in model.verification.levels if model.verification else ():
            column = Column(level.level, level.against)
            if column not in columns:
                columns.append(column)
    rows, details = [], []
    for model in models:
        levels = model.verification.levels if model.verification else ()
        by_column = {Column(level.level, level.against): level for level in levels}
        verdicts = [_verdict(by_column.get(column)) for column in columns]
        rows.append((model, megabytes(model.bytes), verdicts))
        if levels:
            details.append((model.path.name, levels))
    return Parity(columns, rows, details)


def _verdict(level: Level | None) -> Verdict:
    return Verdict(None, "not compared") if level is None else Verdict(level.passed, level.summary)


def measurement(bench: Benchmark) -> Measurement:
    """Return a benchmark as the page shows it."""
    slowest = max((row.p50_ms / row.batch_size for row in bench.results), default=1.0) or 1.0
    rows = [
        Speed(
            target=row.target,
            provider=row.provider,
            batch=row.batch_size,
            threads=row.threads,
            p50=row.p50_ms,
            p90=row.p90_ms,
            p99=row.p99_ms,
            per_second=row.images_per_s,
            ratio="–" if row.ratio_to_first is None else f"{row.ratio_to_first:.2f}",
            memory="–" if row.peak_memory_mb is None else f"{row.peak_memory_mb:.0f}",
            noisy=row.verdict == "noisy",
            share=row.p50_ms / row.batch_size / slowest,
        )
        for row in bench.results
    ]
    accuracies = [
        (model.target, f"{percent(model.accuracy)} of {model.accuracy_images}")
        for model in bench.models
        if model.accuracy is not None
    ]
    versions = ", ".join(f"{name} {version}" for name, version in bench.machine.versions.items())
    return Measurement(str(bench.machine), versions, rows, accuracies, bench.verdict == "noisy")
