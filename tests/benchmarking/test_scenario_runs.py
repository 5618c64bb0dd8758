"""Which runs each target gets in a scenario, with a process that only notes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from toolchain.benchmarking.processes.targets import Target, TargetProcess
from toolchain.benchmarking.rounds import Case
from toolchain.benchmarking.scenario_rows import ScenarioResult, scenario_table
from toolchain.benchmarking.scenario_runs import measure_scenarios
from toolchain.benchmarking.scenarios.plan import LoadgenRun, Plan, Scenario
from toolchain.display import as_markdown
from toolchain.progress import SilentReporter

RUN = LoadgenRun(
    valid=True,
    reasons=[],
    queries=700,
    samples=700,
    latency_ms=20.0,
    early_stopping_ms=21.0,
    samples_per_s=80.0,
)


class Recorder:
    """Stands for a target's process. It notes the plans, and answers by what is `said`."""

    def __init__(self, **said: Any) -> None:
        self.target = Target("model.onnx", Path("model.onnx"), False, "cpu", 2)
        self.said = said
        self.plans: list[Plan] = []

    def run_scenario(self, plan: Plan, folder: Path) -> LoadgenRun:
        self.plans.append(plan)
        return msgspec.structs.replace(RUN, **self.said)


class Server(Recorder):
    """Keeps its bound up to a rate."""

    def __init__(self, most_per_s: float) -> None:
        super().__init__()
        self.most_per_s = most_per_s

    def run_scenario(self, plan: Plan, folder: Path) -> LoadgenRun:
        kept = plan.rate_per_s <= self.most_per_s
        self.said = {"bound_kept": kept, "valid": kept, "reasons": [] if kept else ["p99 is long"]}
        return super().run_scenario(plan, folder)


def measure(
    recorder: Recorder,
    scenario: Scenario,
    latencies_ms: dict[int, float] | None = None,
    seconds: float = 10.0,
) -> ScenarioResult:
    """Measure one scenario; `latencies_ms` are those of the batch sizes, here 1, 8 and 16."""
    sizes = {1: 20.0, 8: 100.0, 16: 240.0} if latencies_ms is None else latencies_ms
    process = cast(TargetProcess, recorder)
    cases = [Case(process, size, rounds=[[ms, ms * 0.8]]) for size, ms in sizes.items()]
    [row] = measure_scenarios([scenario], 0.05, cases, seconds, Path(), SilentReporter())
    return row


@pytest.mark.parametrize(
    ("scenario", "sizes", "expected"),
    [
        ("single-stream", None, 1),
        ("multi-stream", None, 8),  # of the batches up to 8, the one of the highest throughput
        ("multi-stream", {1: 10.0, 8: 90.0}, 1),
        ("offline", None, 8),  # of all
        ("offline", {1: 20.0, 16: 240.0}, 16),
        ("single-stream", {4: 60.0}, 1),  # a file for batches of 4 pads them
    ],
)
def test_the_best_of_the_measured_batch_sizes_is_taken(
    scenario: Scenario, sizes: dict[int, float] | None, expected: int
) -> None:
    recorder = Recorder()
    assert measure(recorder, scenario, sizes).batch_size == expected
    assert recorder.plans[0].batch_sizes == (expected,)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({1: 20.0, 8: 100.0, 16: 240.0}, (1, 2, 4, 8)),
        ({1: 20.0, 12: 120.0}, (1, 2, 4, 8, 12)),
        ({1: 20.0, 8: 200.0}, (1,)),
    ],
)
def test_a_server_computes_what_waits_in_batches_up_to_the_best(
    sizes: dict[int, float], expected: tuple[int, ...]
) -> None:
    recorder = Server(60)
    assert measure(recorder, "server", sizes).batch_size == expected[-1]
    assert {plan.batch_sizes for plan in recorder.plans} == {expected}


def test_queries_that_fit_into_the_time_are_asked_for() -> None:
    recorder = Recorder()
    measure(recorder, "single-stream")
    [plan] = recorder.plans
    assert plan.least_queries == pytest.approx(10.0 / 0.018, abs=1)
    # Prepared are more than fit: the fastest image took 10 ms, in a batch of 8.
    assert plan.expected_latency_s == pytest.approx(0.01 / 2)


def test_an_offline_run_that_ended_too_soon_is_made_again_with_more_images() -> None:
    recorder = Recorder(long_enough=False, valid=False, samples_per_s=500.0)
    row = measure(recorder, "offline")
    assert row.verdict == "INVALID"
    rates = [plan.rate_per_s for plan in recorder.plans]
    assert len(rates) == 3
    assert rates[1] == pytest.approx(600)
    assert rates[2] > rates[1] > rates[0]


def test_the_highest_rate_of_a_server_is_confirmed_with_seeds_of_its_own() -> None:
    recorder = Server(60)
    row = measure(recorder, "server")
    assert row.rate_per_s is not None
    assert row.rate_too_high_per_s is not None
    assert 55 < row.rate_per_s <= 60 < row.rate_too_high_per_s
    assert (row.verdict, row.latency_bound_ms) == ("VALID", 50.0)
    seconds = [plan.seconds for plan in recorder.plans]
    assert seconds == sorted(seconds)
    assert set(seconds) == {2.5, 10.0}
    assert [plan.number for plan in recorder.plans] == list(range(len(recorder.plans)))
    assert [trial.kept for trial in row.rates].count(False) >= 1
    assert "queries/s; p99 20.0 ms" in as_markdown([scenario_table([row])])


def test_a_server_that_keeps_no_rate_says_why() -> None:
    row = measure(Server(0), "server")
    assert (row.rate_per_s, row.verdict, row.reasons) == (None, "INVALID", ["p99 is long"])
    shown = as_markdown([scenario_table([row])])
    assert "no rate" in shown
    assert "p99 is long; bound 50 ms" in shown


@pytest.mark.parametrize(
    ("scenario", "seconds", "said", "short"),
    [
        ("single-stream", 10.0, {}, True),
        ("single-stream", 600.0, {}, False),  # early stopping accepts 700 queries
        ("single-stream", 600.0, {"valid": False}, True),
        ("multi-stream", 600.0, {"valid": False, "queries": 270_336}, False),
        ("offline", 600.0, {}, True),  # which has no early stopping
        ("offline", 600.0, {"samples": 24_576}, False),
    ],
)
def test_a_run_that_is_no_submission_is_called_short(
    scenario: Scenario, seconds: float, said: dict[str, Any], short: bool
) -> None:
    row = measure(Recorder(**said), scenario, seconds=seconds)
    assert row.short_run is short
    assert ("short run, not a submission" in as_markdown([scenario_table([row])])) is short


def test_what_a_short_run_lacks_is_named() -> None:
    shown = as_markdown([scenario_table([measure(Recorder(), "multi-stream")])])
    assert "short run, not a submission (10 of 600 s, 700 of 270,336 queries)" in shown
