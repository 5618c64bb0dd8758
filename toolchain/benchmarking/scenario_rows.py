"""The rows of the scenarios in a benchmark, and their table. The fields are in docs/json.md."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from toolchain.benchmarking.figures.case_name import CaseName, shown_target
from toolchain.benchmarking.figures.verdicts import Verdict
from toolchain.benchmarking.scenarios.plan import OFFICIAL_SECONDS, Scenario
from toolchain.benchmarking.tables import NO_FIGURE, figure
from toolchain.display import Cell, Span, Table

TITLE = "Scenarios of MLPerf, by MLCommons' LoadGen"


class RateTried(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the search for the highest rate."""

    rate_per_s: float
    seconds: float
    queries: int
    latency_ms: float | None
    kept: bool


class ScenarioResult(CaseName, frozen=True, kw_only=True):
    """One target in one scenario, as LoadGen says. The fields are described in docs/json.md."""

    scenario: Scenario
    verdict: Verdict
    reasons: list[str] = msgspec.field(default_factory=list)
    """Why LoadGen calls it INVALID."""
    seconds: float
    queries: int
    samples: int
    percentile: int | None
    latency_ms: float | None
    early_stopping_latency_ms: float | None
    samples_per_s: float
    short_run: bool
    official_queries: int
    """Of the offline scenario samples."""
    latency_bound_ms: float | None = None
    rate_per_s: float | None = None
    """The highest that keeps the bound."""
    rate_too_high_per_s: float | None = None
    rates: list[RateTried] = msgspec.field(default_factory=list)

    @property
    def shown(self) -> str:
        """The figure that the scenario is about."""
        latency = NO_FIGURE
        if self.latency_ms is not None:
            latency = f"p{self.percentile} {figure(self.latency_ms)} ms"
        if self.scenario == "offline":
            return f"{figure(self.samples_per_s)} img/s"
        if self.scenario != "server":
            return latency
        if self.rate_per_s is None:
            return f"no rate; {latency}"
        return f"{figure(self.rate_per_s)} queries/s; {latency}"

    @property
    def remarks(self) -> list[str]:
        """Why it is INVALID, the bound of a server, and what a submission has more."""
        bound = short = ""
        if self.latency_bound_ms is not None:
            bound = f"bound {self.latency_bound_ms:g} ms"
        if self.short_run:
            count = self.samples if self.scenario == "offline" else self.queries
            what = "samples" if self.scenario == "offline" else "queries"
            short = (
                f"short run, not a submission ({self.seconds:g} of {OFFICIAL_SECONDS} s, "
                f"{count:,} of {self.official_queries:,} {what})"
            )
        return [text for text in (*self.reasons, bound, short) if text]


def scenario_table(rows: Sequence[ScenarioResult]) -> Table:
    """Return a row for each target and scenario."""
    cells: list[tuple[Cell, ...]] = [
        (
            shown_target(row, rows),
            row.scenario,
            str(row.batch_size),
            row.threads_shown,
            row.shown,
            Span(row.verdict, "good" if row.verdict == "VALID" else "bad"),
            "; ".join(row.remarks),
        )
        for row in rows
    ]
    names = ("model", "scenario", "batch", "thr", "result", "verdict", "")
    return Table(names, cells, right=("batch", "thr"), title=TITLE)
