"""`rtl bench`: targets are opened, checked for equal outputs, and timed in turn."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from toolchain.benchmarking import rounds, statistics
from toolchain.benchmarking.statistics import Interval
from toolchain.benchmarking.targets import Target, TargetProcess
from toolchain.display import Block, Displayed, Line, Table
from toolchain.errors import ModelFileError, RefusedError
from toolchain.machine import Machine, this_machine
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.runfolder import SUFFIXES, RunFolder, run_of_model
from toolchain.runtime.cores import usable_cores
from toolchain.verification.levels import numbers


class TargetResult(msgspec.Struct, frozen=True, kw_only=True):
    """One target at one batch size. The fields are described in docs/json.md."""

    target: str
    model: str
    provider: str
    threads: int
    batch_size: int
    verdict: str
    calls: int
    p50_ms: float
    p50_interval_ms: Interval
    p90_ms: float
    p90_interval_ms: Interval
    p99_ms: float
    p99_interval_ms: Interval
    images_per_s: float
    ratio_to_first: float
    """Median latency of the first target, at this batch size and these threads, over its own."""
    load_ms: float
    peak_memory_mb: float | None


class Benchmark(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """All cases of one benchmark. The fields are described in docs/json.md."""

    version: int = 2
    verdict: str
    """`stable` when every case is, else `noisy`."""
    machine: Machine
    seconds_per_case: float
    max_difference: float
    """Largest absolute difference of a logit from the first target's, on generated inputs."""
    results: list[TargetResult]

    def blocks(self) -> list[Block]:
        """Return a row for each case, the machine, and how far the figures can be trusted."""
        several = len({(row.target, row.provider, row.threads) for row in self.results}) > 1
        few = any(row.p99_interval_ms[1] is None for row in self.results)
        notes = [
            f"the same answers within {self.max_difference:.1g}" if several else "",
            f"{self.seconds_per_case:g} s a case",
            "*: noisy, medians of rounds apart by over 10 %" if self.verdict == "noisy" else "",
            "~: too few calls to bound it" if few else "",
        ]
        return [
            _case_table(self.results),
            Line(str(self.machine), "quiet"),
            Line("; ".join(filter(None, notes)), "quiet"),
        ]


def bench(
    models: Sequence[str | os.PathLike[str]],
    *,
    providers: Sequence[str] = ("cpu",),
    batch_sizes: Sequence[int] = (1, 8),
    threads: Sequence[int] = (),
    seconds: float = 3.0,
    eager: bool | None = None,
    progress: ProgressReporter | None = None,
) -> Benchmark:
    """Measure model files side by side; a run folder stands for all of its exported files.

    Every file is measured with each provider, number of threads and batch size, for `seconds` each.
    `threads` defaults to the cores that this process may use. `eager` adds torch eager, for which
    the run folder must be known; None adds it where that is so and torch is installed.

    Raises RefusedError when the targets do not compute the same logits or one of their processes
    dies, ModelFileError, ProviderError, DataError or MissingExtraError when one can't be opened.
    """
    progress = progress or SilentReporter()
    targets = _targets(models, providers, threads or (usable_cores(),), eager)
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(TargetProcess(target)) for target in targets]
        opened = [p.open() for p in progress.track(processes, "opening", len(processes))]
        logits = [np.frombuffer(r.logits, dtype="<f4").reshape(-1, r.classes) for r in opened]
        max_difference = _require_same_outputs(targets, logits)
        cases = rounds.measure(processes, batch_sizes, seconds, progress)
    load_ms = {p.target: reply.load_ms for p, reply in zip(processes, opened, strict=True)}
    results = _results(cases, load_ms)
    return Benchmark(
        verdict="stable" if all(r.verdict == "stable" for r in results) else "noisy",
        machine=this_machine(),
        seconds_per_case=seconds,
        max_difference=max_difference,
        results=results,
    )


def _case_table(results: Sequence[TargetResult]) -> Table:
    """Return the cases as a table that fits 80 columns."""
    numbers = ("batch", "thr", "p50 ms", "p90", "p99", "img/s", "×", "MB")
    several = len({row.provider for row in results}) > 1
    rows = [
        (
            row.target
            + (f" {row.provider}" if several else "")
            + (" *" if row.verdict == "noisy" else ""),
            str(row.batch_size),
            str(row.threads),
            f"{row.p50_ms:.1f}",
            _bounded(row.p90_ms, row.p90_interval_ms),
            _bounded(row.p99_ms, row.p99_interval_ms),
            f"{row.images_per_s:.0f}",
            f"{row.ratio_to_first:.2f}",
            "–" if row.peak_memory_mb is None else f"{row.peak_memory_mb:.0f}",
        )
        for row in results
    ]
    return Table(("model", *numbers), rows, right=numbers)


def _bounded(value_ms: float, interval: Interval) -> str:
    """Write a percentile, marked where there were too few calls to bound it from above."""
    return f"{'~' if interval[1] is None else ''}{value_ms:.1f}"


def _targets(
    models: Sequence[str | os.PathLike[str]],
    providers: Sequence[str],
    threads: Sequence[int],
    eager: bool | None,
) -> list[Target]:
    """Return the targets of each number of threads and provider, torch eager first."""
    paths = [file for model in models for file in _model_files(Path(model))]
    run = next((run for path in paths if (run := run_of_model(path))), None)
    if eager is None:
        eager = run is not None and importlib.util.find_spec("torch") is not None
    if eager and run is None:
        raise ModelFileError(
            f"torch eager needs the run folder, and {paths[0]} does not lie in one",
            hint="leave --eager away, or give the file in RUN/export",
        )
    targets = []
    for count in threads:
        for provider in providers:
            if eager and run is not None:
                targets.append(Target("torch eager", run.path, True, provider, count))
            targets += [Target(path.name, path, False, provider, count) for path in paths]
    return targets


def _model_files(path: Path) -> list[Path]:
    """Return a model file itself, or all model files of a run folder."""
    if not path.is_dir():
        return [path]
    run = RunFolder.open(path)
    files = [run.model_file(name) for name in SUFFIXES if run.model_file(name).is_file()]
    if not files:
        raise ModelFileError(f"{path} holds no exported model", hint=f"rtl export {path}")
    return files


def _require_same_outputs(
    targets: Sequence[Target],
    logits: Sequence[np.ndarray[tuple[int, int], np.dtype[np.float32]]],
) -> float:
    """Return the largest difference from the first target's logits; RefusedError beyond bounds."""
    for target, other in zip(targets, logits, strict=True):
        if other.shape != logits[0].shape:
            raise RefusedError(
                f"{target.name} has {other.shape[1]} classes, {targets[0].name} has "
                f"{logits[0].shape[1]}: nothing to compare"
            )
    differences = [numbers.compare_numbers(logits[0], other) for other in logits]
    for target, difference in zip(targets, differences, strict=True):
        if not difference.passed:
            raise RefusedError(
                f"{target.name} and {targets[0].name} give different answers "
                f"({difference.max_abs:.2g}, bound {difference.bound:.2g}): nothing to compare",
                hint="rtl verify MODEL says which one is wrong",
            )
    return max(difference.max_abs for difference in differences)


def _results(cases: Sequence[rounds.Case], load_ms: dict[Target, float]) -> list[TargetResult]:
    """Return a result for each case, in the order of the targets."""
    first_p50_ms: dict[tuple[int, int], float] = {}
    results = []
    for case in cases:
        target = case.process.target
        latency = statistics.summarise(case.rounds)
        base_ms = first_p50_ms.setdefault((case.batch_size, target.threads), latency.p50_ms)
        results.append(
            TargetResult(
                target=target.name,
                model=str(target.path),
                provider=target.provider,
                threads=target.threads,
                batch_size=case.batch_size,
                verdict=latency.verdict,
                calls=latency.calls,
                p50_ms=latency.p50_ms,
                p50_interval_ms=latency.p50_interval_ms,
                p90_ms=latency.p90_ms,
                p90_interval_ms=latency.p90_interval_ms,
                p99_ms=latency.p99_ms,
                p99_interval_ms=latency.p99_interval_ms,
                images_per_s=case.batch_size * 1e3 / latency.mean_ms,
                ratio_to_first=base_ms / latency.p50_ms,
                load_ms=load_ms[target],
                peak_memory_mb=case.peak_memory_mb,
            )
        )
    return results
