"""What a benchmark finds, as one result."""

from __future__ import annotations

import msgspec

from toolchain.benchmarking import detail_tables, tables
from toolchain.benchmarking.comparison_result import Comparison
from toolchain.benchmarking.details import LimitResult, StageResult
from toolchain.benchmarking.figures.verdicts import Percentile, Verdict
from toolchain.benchmarking.processes.cold_start import ColdStart
from toolchain.benchmarking.processes.peak import Peak
from toolchain.benchmarking.rows import ComparedModel, LeftOut, PauseResult, TargetResult
from toolchain.benchmarking.scenario_rows import ScenarioResult, scenario_table
from toolchain.display import Block, Displayed, Line, counted
from toolchain.machine import Machine

VERSION = 4
"""Of the JSON."""


class Benchmark(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """All cases of one benchmark. The fields are described in docs/json.md."""

    version: int = VERSION
    verdict: Verdict
    """`VALID` when every case and scenario is."""
    machine: Machine
    seconds_per_case: float | None = None
    busy: int = 0
    """Processes that kept a core busy each meanwhile."""
    percentile: Percentile = "p90"
    """The percentile that had to have enough calls."""
    models: list[ComparedModel] = []
    left_out: list[LeftOut] = []
    results: list[TargetResult]
    pauses: list[PauseResult] = []
    stages: list[StageResult] = []
    cold_starts: list[ColdStart] = []
    scenarios: list[ScenarioResult] = []
    """By MLCommons' LoadGen."""
    limits: list[LimitResult] = []
    peaks: list[Peak] = []
    """What the machine can compute, for each number of threads."""
    no_energy: str | None = None
    """Why the energy could not be read."""
    comparison: Comparison | None = None
    """Beside an older benchmark, where one was given."""

    def blocks(self) -> list[Block]:
        """Return the tables, and how far the figures can be trusted."""
        fixed = [model for model in self.models if model.batch is not None]
        return [
            tables.case_table(self.results),
            tables.further_table(self.results),
            tables.verdict_table(self.results),
            *([tables.pause_table(self.pauses, self.results)] if self.pauses else []),
            *([detail_tables.stage_table(self.stages)] if self.stages else []),
            *([detail_tables.cold_start_table(self.cold_starts)] if self.cold_starts else []),
            *([detail_tables.limit_table(self.limits)] if self.limits else []),
            *([scenario_table(self.scenarios)] if self.scenarios else []),
            *([tables.model_table(self.models)] if len(self.models) > 1 else []),
            *(Line(f"{m.target} takes batches of {m.batch} only", "quiet") for m in fixed),
            *(Line(f"left out {item.model}: {item.reason}", "unsure") for item in self.left_out),
            *(self.comparison.blocks() if self.comparison else []),
            Line(str(self.machine), "quiet"),
            Line("; ".join(filter(None, self._notes())), "quiet"),
        ]

    def _notes(self) -> list[str]:
        energy = [row.energy_j_per_image for row in self.results]
        lacking = any(row.lacking_calls for row in self.results)
        invalid = any(row.reasons for row in self.results)
        return [
            "" if self.seconds_per_case is None else f"{self.seconds_per_case:g} s a case",
            f"beside {counted(self.busy, 'busy process', 'busy processes')}" if self.busy else "",
            "±: 95 % interval",
            "*: INVALID" if invalid else "",
            "~: too few calls for this percentile" if lacking else "",
            f"energy: not readable, {self.no_energy}" if self.no_energy and not any(energy) else "",
        ]
