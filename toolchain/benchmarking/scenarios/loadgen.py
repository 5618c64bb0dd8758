"""Runs MLCommons' LoadGen on an open model: it issues the queries and measures the latencies.

The samples are the generated inputs, as pixels in memory; a query names some of them.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolchain.backends.backend import Backend
from toolchain.benchmarking.scenarios.log import read_run
from toolchain.benchmarking.scenarios.plan import (
    PERCENTILES,
    SAMPLES_PER_QUERY,
    LoadgenRun,
    Plan,
    Scenario,
)
from toolchain.errors import RefusedError
from toolchain.extras import import_extra
from toolchain.runtime.selftest import generated_pixels

MODULE = "mlperf_loadgen"
SAMPLES = 64
"""Samples of the library. The generated inputs stand for all of them."""
MOST_PREPARED = 4_000_000
"""Queries that LoadGen prepares at most, at a few hundred bytes each."""
SEEDS = {
    "qsl_rng_seed": 2085463073848966840,
    "sample_index_rng_seed": 2747215439041700203,
    "schedule_rng_seed": 16159082839903944936,
}
"""MLPerf's of LoadGen 6.0; the number of the run is added."""
NAMES: dict[Scenario, str] = {
    "single-stream": "SingleStream",
    "multi-stream": "MultiStream",
    "offline": "Offline",
    "server": "Server",
}


class Sample(NamedTuple):
    """A sample that LoadGen has asked for."""

    response: int
    """The number by which LoadGen knows the sample of this query."""
    image: int
    """Which of the library's."""


Waiting = queue.SimpleQueue[Sample | None]
"""What a server has to compute; None ends it."""


def require_loadgen() -> Any:
    """Return the module of LoadGen; MissingExtraError where it is not installed."""
    return import_extra(MODULE, what="MLCommons' LoadGen, which --scenario needs,")


def run_loadgen(backend: Backend, plan: Plan, folder: Path) -> LoadgenRun:
    """Run one test on a model, and return what LoadGen says of it.

    LoadGen writes its logs into `folder`, and reads no settings from where the user is. Raises what
    the model raised.
    """
    loadgen = require_loadgen()
    system = SystemUnderTest(loadgen, backend, plan)
    system.warm_up()
    sut = loadgen.ConstructSUT(system.issue, _nothing)
    qsl = loadgen.ConstructQSL(SAMPLES, SAMPLES, _nothing, _nothing)
    try:
        with contextlib.chdir(folder), system.computing():
            settings, logs = test_settings(loadgen, plan), log_settings(loadgen, folder)
            loadgen.StartTestWithLogSettings(sut, qsl, settings, logs)
    finally:
        loadgen.DestroyQSL(qsl)
        loadgen.DestroySUT(sut)
    if system.failure is not None:
        raise system.failure
    try:
        return read_run(folder, plan)
    except (OSError, KeyError, ValueError) as error:
        raise RefusedError(
            f"what LoadGen wrote about its run can't be read: {type(error).__name__}: {error}",
            hint="rtl knows mlcommons-loadgen 6; pip list shows which one is installed",
        ) from error


def test_settings(loadgen: Any, plan: Plan) -> Any:
    """Return LoadGen's settings for a plan."""
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, NAMES[plan.scenario])
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(plan.seconds * 1e3)
    settings.min_query_count = plan.least_queries
    for name, seed in SEEDS.items():
        setattr(settings, name, (seed + plan.number) % 2**64)
    expected_s = max(plan.expected_latency_s, plan.seconds / MOST_PREPARED)
    settings.single_stream_expected_latency_ns = round(expected_s * 1e9)
    settings.single_stream_target_latency_percentile = PERCENTILES["single-stream"] / 100
    settings.multi_stream_expected_latency_ns = round(expected_s * 1e9)
    settings.multi_stream_target_latency_percentile = PERCENTILES["multi-stream"] / 100
    settings.multi_stream_samples_per_query = SAMPLES_PER_QUERY["multi-stream"]
    settings.server_target_qps = plan.rate_per_s
    settings.server_target_latency_ns = round(plan.latency_bound_s * 1e9)
    settings.server_target_latency_percentile = PERCENTILES["server"] / 100
    settings.offline_expected_qps = plan.rate_per_s
    return settings


def log_settings(loadgen: Any, folder: Path) -> Any:
    """Return settings by which LoadGen writes into a folder alone."""
    output = loadgen.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    output.copy_detail_to_stdout = False
    logs = loadgen.LogSettings()
    logs.log_output = output
    logs.enable_trace = False
    return logs


class SystemUnderTest:
    """Computes the samples that LoadGen asks for, and says when each is done.

    The scenario server has a thread that computes what waits; in the others the next query comes
    only after the last one, which is computed where it arrives. An error of the model is kept:
    raised inside LoadGen it would end the process.
    """

    def __init__(self, loadgen: Any, backend: Backend, plan: Plan) -> None:
        self.failure: BaseException | None = None
        self._loadgen = loadgen
        self._backend = backend
        card = backend.card
        fixed = card.batch if card.input != "image" else None
        self._batch_sizes = tuple(sorted(plan.batch_sizes)) if fixed is None else (fixed,)
        self._waiting: Waiting | None = queue.SimpleQueue() if plan.scenario == "server" else None
        self._pixels = generated_pixels(card.preprocessing.size)

    def issue(self, query: Iterable[Any]) -> None:
        """Take the samples of a query."""
        samples = [Sample(sample.id, sample.index) for sample in query]
        if self._waiting is None:
            done = 0
            while done < len(samples):
                done += self._compute_from(samples, done)
            return
        for sample in samples:
            self._waiting.put(sample)

    def warm_up(self) -> None:
        """Compute each size of batch once, before time is taken."""
        for size in self._batch_sizes:
            self._backend.run(self._batch(range(size)))

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Compute what waits in a thread of its own, as long as the context lasts."""
        if self._waiting is None:
            yield
            return
        thread = threading.Thread(target=self._compute_waiting, args=(self._waiting,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._waiting.put(None)
            thread.join()

    def _compute_waiting(self, waiting: Waiting) -> None:
        """Compute what waits, until None comes."""
        taken: list[Sample] = []
        while taken or _take(waiting, taken, block=True):
            while len(taken) < self._batch_sizes[-1] and _take(waiting, taken, block=False):
                pass
            del taken[: self._compute_from(taken, 0)]

    def _compute_from(self, samples: Sequence[Sample], start: int) -> int:
        """Compute samples from one on, as many as the largest batch has, and return how many."""
        there = len(samples) - start
        count = max((size for size in self._batch_sizes if size <= there), default=there)
        now = samples[start : start + count]
        try:
            if self.failure is None:
                self._backend.run(self._batch([sample.image for sample in now]))
        except BaseException as error:
            self.failure = error
        answer = self._loadgen.QuerySampleResponse
        self._loadgen.QuerySamplesComplete([answer(sample.response, 0, 0) for sample in now])
        return count

    def _batch(self, indices: Sequence[int]) -> Any:
        """Return the pixels uint8 [samples, size, size, 3] of some samples."""
        known = len(self._pixels)
        if len(indices) == 1:
            first = indices[0] % known
            return self._pixels[first : first + 1]
        return np.take(self._pixels, np.asarray(indices) % known, axis=0)


def _nothing(*_: Any) -> None:
    """Do nothing: all samples are in memory, and no query is held back."""


def _take(waiting: Waiting, taken: list[Sample], *, block: bool) -> bool:
    """Move a sample from what waits to what is taken, and return whether there was one."""
    try:
        sample = waiting.get(block)
    except queue.Empty:
        return False
    if sample is not None:
        taken.append(sample)
    return sample is not None
