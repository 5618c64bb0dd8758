"""Which runs of LoadGen each target gets, and the rows that follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolchain.benchmarking.figures.queries import NEEDED
from toolchain.benchmarking.processes.targets import TargetProcess
from toolchain.benchmarking.rounds import Case
from toolchain.benchmarking.scenario_rows import RateTried, ScenarioResult
from toolchain.benchmarking.scenarios.plan import (
    OFFICIAL_QUERIES,
    OFFICIAL_SECONDS,
    PERCENTILES,
    SAMPLES_PER_QUERY,
    LoadgenRun,
    Plan,
    Scenario,
)
from toolchain.benchmarking.scenarios.search import Found, highest_rate
from toolchain.progress import ProgressReporter

BRIEF_SHARE = 0.25
"""Of the time, for the runs between which the highest rate lies."""
START_SHARE = 0.5
"""Of the throughput, for the first rate that is tried."""
OFFLINE_MARGIN = 1.2
"""More samples than were computed in the time before: LoadGen wants them all at once."""
MOST_OFFLINE_RUNS = 3


@dataclass(frozen=True)
class Speed:
    """How fast a target was at the batch sizes that it was measured at."""

    images_per_s: dict[int, float]
    """Batch size → images a second."""
    fastest_image_s: float
    """The least time of a call over its images."""

    def best_batch(self, most: int | None = None) -> int:
        """Return the batch size of the highest throughput, of at most `most` images."""
        fitting = {n: rate for n, rate in self.images_per_s.items() if most is None or n <= most}
        return max(fitting, key=lambda size: fitting[size]) if fitting else most or 1

    def at(self, batch_size: int) -> float:
        """Return the images a second at a batch size, or that of the smallest measured one."""
        return self.images_per_s.get(batch_size, self.images_per_s[min(self.images_per_s)])


def measure_scenarios(
    scenarios: Sequence[Scenario],
    latency_bound_s: float,
    cases: Sequence[Case],
    seconds: float,
    folder: Path,
    progress: ProgressReporter,
) -> list[ScenarioResult]:
    """Return what LoadGen says of each target in each scenario, one after the other.

    `cases` are those that were measured, which tell the batch sizes and how many queries fit into
    `seconds`. LoadGen's logs go to `folder`.
    """
    turns = [(found, scenario) for found in _by_process(cases) for scenario in scenarios]
    rows = []
    for (process, speed), scenario in progress.track(turns, "measuring scenarios", len(turns)):
        runs = Runs(process, speed, scenario, seconds, latency_bound_s, folder)
        rows.append(runs.server() if scenario == "server" else runs.other())
    return rows


def _by_process(cases: Sequence[Case]) -> Iterator[tuple[TargetProcess, Speed]]:
    processes = {id(case.process): case.process for case in cases}
    for process in processes.values():
        rates, fastest = {}, math.inf
        for case in cases:
            if case.process is process:
                calls = [latency_ms / 1e3 for latencies in case.rounds for latency_ms in latencies]
                rates[case.batch_size] = case.batch_size * len(calls) / math.fsum(calls)
                fastest = min(fastest, min(calls) / case.batch_size)
        yield process, Speed(rates, fastest)


class Runs:
    """The runs of one target in one scenario."""

    def __init__(
        self,
        process: TargetProcess,
        speed: Speed,
        scenario: Scenario,
        seconds: float,
        latency_bound_s: float,
        folder: Path,
    ) -> None:
        self._process, self._speed, self._folder = process, speed, folder
        self._scenario, self._seconds, self._bound_s = scenario, seconds, latency_bound_s
        self._batch = speed.best_batch(SAMPLES_PER_QUERY.get(scenario))
        self._number = 0
        if scenario == "server":
            self._batch = speed.best_batch()

    def other(self) -> ScenarioResult:
        """Return the result of a scenario that one run measures.

        Offline, a run that was done too soon is made again with more samples.
        """
        rate = OFFLINE_MARGIN * self._speed.at(self._batch)
        run = self._run(self._seconds, rate)
        for _ in range(MOST_OFFLINE_RUNS - 1):
            if run.long_enough or self._scenario != "offline":
                break
            rate = OFFLINE_MARGIN * max(rate, run.samples_per_s)
            run = self._run(self._seconds, rate)
        return self._result(run)

    def server(self) -> ScenarioResult:
        """Return the highest rate at which the percentile stays within the bound."""
        found = highest_rate(
            lambda rate, seconds: self._run(seconds, rate),
            is_kept,
            start_per_s=START_SHARE * self._speed.at(self._batch),
            brief_s=BRIEF_SHARE * self._seconds,
            whole_s=self._seconds,
        )
        return self._result(found.best.run, found)

    def _run(self, seconds: float, rate_per_s: float) -> LoadgenRun:
        """Make one run. `rate_per_s` is that of the queries, offline of the samples."""
        samples = SAMPLES_PER_QUERY.get(self._scenario, 1)
        per_s = rate_per_s
        if self._scenario in ("single-stream", "multi-stream"):
            per_s = self._speed.at(self._batch) / samples
        in_time = max(1, min(int(seconds * per_s), OFFICIAL_QUERIES[self._scenario]))
        plan = Plan(
            scenario=self._scenario,
            seconds=seconds,
            least_queries=1 if self._scenario == "offline" else in_time,
            expected_latency_s=samples * self._speed.fastest_image_s / 2,
            rate_per_s=rate_per_s,
            latency_bound_s=self._bound_s,
            batch_sizes=self._batch_sizes(),
            number=self._number,
        )
        self._number += 1
        return self._process.run_scenario(plan, self._folder)

    def _batch_sizes(self) -> tuple[int, ...]:
        """Return the sizes of batch that are computed; a server computes what waits."""
        if self._scenario != "server":
            return (self._batch,)
        powers = (2**n for n in range(self._batch.bit_length()))
        return tuple(sorted({*powers, self._batch}))

    def _result(self, run: LoadgenRun, found: Found[LoadgenRun] | None = None) -> ScenarioResult:
        target, scenario = self._process.target, self._scenario
        official = OFFICIAL_QUERIES[scenario]
        counted = run.samples if scenario == "offline" else run.queries
        stopped_early = run.valid and scenario != "offline"  # by LoadGen's rule for fewer queries
        return ScenarioResult(
            target=target.name,
            provider=target.provider,
            threads=target.threads,
            spin=target.spin,
            batch_size=self._batch,
            scenario=scenario,
            verdict="VALID" if run.valid else "INVALID",
            reasons=run.reasons,
            seconds=self._seconds,
            queries=run.queries,
            samples=run.samples,
            percentile=PERCENTILES.get(scenario),
            latency_ms=run.latency_ms,
            early_stopping_latency_ms=run.early_stopping_ms,
            samples_per_s=run.samples_per_s,
            short_run=self._seconds < OFFICIAL_SECONDS
            or (counted < official and not stopped_early),
            official_queries=official,
            latency_bound_ms=self._bound_s * 1e3 if found else None,
            rate_per_s=found.rate_per_s if found else None,
            rate_too_high_per_s=found.too_high if found else None,
            rates=[] if found is None else _tried(found),
        )


def is_kept(run: LoadgenRun) -> bool:
    """Return whether a server kept the bound: LoadGen says so, or it lacks queries alone."""
    return run.valid or (run.bound_kept and run.queries < NEEDED["p99"])


def _tried(found: Found[LoadgenRun]) -> list[RateTried]:
    return [
        RateTried(
            rate_per_s=trial.rate_per_s,
            seconds=trial.seconds,
            queries=trial.run.queries,
            latency_ms=trial.run.latency_ms,
            kept=trial.kept,
        )
        for trial in found.trials
    ]
