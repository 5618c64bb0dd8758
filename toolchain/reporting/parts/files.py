"""The parts about the exported files: parity, and speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from toolchain.benchmarking.result import Benchmark
from toolchain.benchmarking.rows import PauseResult, TargetResult
from toolchain.benchmarking.scenario_rows import TITLE, ScenarioResult
from toolchain.display import megabytes
from toolchain.reporting.reading.sources import ModelFile
from toolchain.verification.result import Level


class LevelRow(NamedTuple):
    """One level of verification against one reference, for each file."""

    level: str
    against: str
    verdicts: Sequence[bool | None]
    """Whether each file passed; None where it was not compared."""
    rule: str
    """What was asked."""
    found: Sequence[str]
    """The figures of each file."""


@dataclass(frozen=True)
class Parity:
    """Levels against files."""

    files: list[tuple[str, str, str]]
    """(name, size, why it counts as not verified; empty where it is)."""
    levels: list[LevelRow]


class Speed(NamedTuple):
    """One row of a benchmark."""

    target: str
    provider: str
    batch: int
    threads: str
    percentiles: list[tuple[float, bool]]
    """p50, p90 and p99 in ms, and whether too few calls were measured for each."""
    per_second: float
    ratio: str
    memory: str
    reasons: str
    """Why its figures are rough; empty where they are VALID."""
    share: float
    """Of the slowest median for an image, in 0…1, for a bar."""


@dataclass(frozen=True)
class Measurement:
    """One benchmark."""

    machine: str
    versions: str
    rows: list[Speed]
    pauses: list[PauseResult]
    """Calls after pauses, as a camera makes them."""
    scenarios: list[ScenarioResult]
    """What LoadGen measured, where it was asked for."""
    scenarios_title: str
    lacking: bool
    """Whether a percentile has too few calls."""


def parity(models: Sequence[ModelFile]) -> Parity | None:
    """Return levels × files; None where nothing is exported."""
    if not models:
        return None
    levels = [model.verification.levels if model.verification else () for model in models]
    by_place = [{(one.level, one.against): one for one in own} for own in levels]
    places = list(dict.fromkeys(place for own in by_place for place in own))
    return Parity(
        [(model.path.name, megabytes(model.bytes), model.reason) for model in models],
        [_level_row(*place, [own.get(place) for own in by_place]) for place in places],
    )


def _level_row(level: str, against: str, found: Sequence[Level | None]) -> LevelRow:
    rules = [one.rule for one in found if one is not None]
    return LevelRow(
        level,
        against,
        [None if one is None else one.passed for one in found],
        rules[0],
        ["not compared" if one is None else one.summary for one in found],
    )


def measurement(bench: Benchmark) -> Measurement:
    """Return a benchmark as the page shows it."""
    slowest = max((row.p50_ms / row.batch_size for row in bench.results), default=1.0) or 1.0
    rows = [
        Speed(
            target=row.target,
            provider=row.provider,
            batch=row.batch_size,
            threads=row.threads_shown,
            percentiles=_percentiles(row),
            per_second=row.images_per_s,
            ratio="–" if row.ratio_to_first is None else f"{row.ratio_to_first:.2f}",
            memory="–" if row.peak_memory_mb is None else f"{row.peak_memory_mb:.0f}",
            reasons="; ".join(f"{reason.kind}: {reason.detail}" for reason in row.reasons),
            share=row.p50_ms / row.batch_size / slowest,
        )
        for row in bench.results
    ]
    versions = ", ".join(f"{name} {version}" for name, version in bench.machine.versions.items())
    lacking = any(row.lacking_calls for row in bench.results)
    return Measurement(
        machine=str(bench.machine),
        versions=versions,
        rows=rows,
        pauses=bench.pauses,
        scenarios=bench.scenarios,
        scenarios_title=TITLE,
        lacking=lacking,
    )


def _percentiles(row: TargetResult) -> list[tuple[float, bool]]:
    lacking = {text.split()[0] for text in row.lacking_calls}
    values = {"p50": row.p50_ms, "p90": row.p90_ms, "p99": row.p99_ms}
    return [(value, name in lacking) for name, value in values.items()]
