"""`rtl bench`: targets are opened, their answers compared, and timed in turn."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from toolchain.benchmarking import rounds, statistics
from toolchain.benchmarking.answers import answers_of, compared_models, require_consistent
from toolchain.benchmarking.chosen import chosen_targets
from toolchain.benchmarking.comparison import compared, read_benchmark, require_comparable
from toolchain.benchmarking.load import busy_processes
from toolchain.benchmarking.result import Benchmark, LeftOut, PauseResult, TargetResult
from toolchain.benchmarking.samples import encode_samples
from toolchain.benchmarking.targets import Target, TargetProcess
from toolchain.benchmarking.worker import Opened
from toolchain.errors import MissingExtraError, ModelFileError, ProviderError, ToolchainError
from toolchain.machine import this_machine
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.stored_outputs import read_stored_outputs, references_file


def bench(
    models: Sequence[str | os.PathLike[str]],
    *,
    providers: Sequence[str] = ("cpu",),
    batch_sizes: Sequence[int] = (1, 8),
    threads: Sequence[int] = (),
    seconds: float = 3.0,
    eager: bool | None = None,
    spin: bool = False,
    gaps: Sequence[float] = (),
    busy: int = 0,
    compare: str | os.PathLike[str] | None = None,
    progress: ProgressReporter | None = None,
) -> Benchmark:
    """Measure model files side by side; a run folder stands for all of its exported files.

    Every file is measured with each provider, number of threads and batch size, for `seconds` each.
    A file that takes one batch size only is measured at it, and the others too.
    `threads` defaults to the cores that this process may use. `eager` adds torch eager, for which
    the run folder must be known; None adds it where that is so and torch is installed. `spin` adds
    each ONNX file with threads that wait in a busy loop. `gaps` are pauses in seconds after which
    calls are measured too, and `busy` is how many processes keep a core busy meanwhile. `compare`
    is the JSON of an earlier benchmark, beside which this one is put.

    The models may differ in anything. Raises RefusedError where a file does not compute what its
    card says, where files of one model in float32 give different answers, or a process dies;
    ModelFileError, ProviderError, DataError or MissingExtraError when one can't be opened. Where it
    can't be put beside `compare`, RefusedError or DataError, whose `result` is the benchmark.
    """
    progress = progress or SilentReporter()
    before = None if compare is None else read_benchmark(Path(compare))
    if before is not None:
        require_comparable(before, this_machine(), busy, str(compare))
    targets = chosen_targets(models, providers, threads or (usable_cores(),), eager, spin=spin)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rtl-bench-")))
        processes = [stack.enter_context(TargetProcess(target)) for target in targets]
        opened, left_out = _opened(processes, _stored_pixels(targets, folder), progress)
        answers = [answers_of(process.target, reply) for process, reply in opened]
        require_consistent(answers)
        stack.enter_context(busy_processes(busy))
        cases = rounds.measure(_batch_sizes(opened, batch_sizes), seconds, progress)
        after_pauses = rounds.measure_after_pauses(cases, gaps, progress)
    load_ms = {process.target: reply.load_ms for process, reply in opened}
    results = _results(cases, load_ms)
    found = Benchmark(
        verdict="stable" if all(r.verdict == "stable" for r in results) else "noisy",
        machine=this_machine(),
        seconds_per_case=seconds,
        busy=busy,
        models=compared_models(answers),
        left_out=left_out,
        results=results,
        pauses=_pauses(after_pauses, cases),
    )
    if before is None:
        return found
    try:
        return msgspec.structs.replace(found, comparison=compared(before, found, str(compare)))
    except ToolchainError as error:
        error.result = found  # it took its time to measure, and holds without the other
        raise


def _opened(
    processes: Sequence[TargetProcess], pixels: Path | None, progress: ProgressReporter
) -> tuple[list[tuple[TargetProcess, Opened]], list[LeftOut]]:
    """Return the processes that have opened their target, and the exports of runs that can't be.

    Raises what opening a target raised that was named itself, or where a provider has none left.
    """
    opened: list[tuple[TargetProcess, Opened]] = []
    failed: list[tuple[Target, ToolchainError]] = []
    for process in progress.track(processes, "opening", len(processes)):
        try:
            opened.append((process, process.open(pixels)))
        except (ModelFileError, ProviderError, MissingExtraError) as error:
            if not process.target.of_run:
                raise
            failed.append((process.target, error))
    for process, reply in opened:
        if reply.choice is not None:
            progress.message(f"{process.target.name}: provider {reply.choice}")
    for target, reason in failed:
        if not any(process.target.provider == target.provider for process, _ in opened):
            raise reason
    reasons = {str(target.path): str(reason) for target, reason in failed}
    return opened, [LeftOut(model=path, reason=text) for path, text in reasons.items()]


def _stored_pixels(targets: Sequence[Target], folder: Path) -> Path | None:
    """Write the images stored beside the first target that has some to a file, and return it.

    So answers are compared on photographs, not on generated inputs alone.
    """
    if len({(target.path, target.eager) for target in targets}) < 2:
        return None
    for target in targets:
        stored = references_file(target.path)
        if target.eager or not stored.is_file():
            continue
        with contextlib.suppress(ModelFileError):  # `rtl verify` says what is wrong with it
            pixels = read_stored_outputs(stored).pixels
            if pixels.ndim == 4 and pixels.dtype == np.uint8:
                path = folder / "pixels.npy"
                np.save(path, pixels)
                return path
    return None


def _batch_sizes(
    opened: Sequence[tuple[TargetProcess, Opened]], asked: Sequence[int]
) -> list[tuple[TargetProcess, Sequence[int]]]:
    """Return each process with its batch sizes: its only one, else all that any target has."""
    fixed = {reply.card.batch for _, reply in opened if _takes_one_batch_size(reply)}
    every = sorted({*asked, *(size for size in fixed if size is not None)})
    return [
        (process, [reply.card.batch or 1] if _takes_one_batch_size(reply) else every)
        for process, reply in opened
    ]


def _takes_one_batch_size(reply: Opened) -> bool:
    return reply.card.batch is not None and reply.card.input != "image"


def _results(cases: Sequence[rounds.Case], load_ms: dict[Target, float]) -> list[TargetResult]:
    """Return a result for each case, in the order of the targets."""
    first = cases[0].process.target
    first_p50_ms: dict[tuple[int, int], float] = {}
    results = []
    for case in cases:
        target = case.process.target
        latency = statistics.summarise(case.rounds)
        same_file = (target.path, target.eager, target.spin) == (first.path, first.eager, False)
        if same_file and target.provider == first.provider:
            first_p50_ms[case.batch_size, target.threads] = latency.p50_ms
        base_ms = first_p50_ms.get((case.batch_size, target.threads))
        results.append(
            TargetResult(
                target=target.name,
                model=str(target.path),
                provider=target.provider,
                threads=target.threads,
                spin=target.spin,
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
                ratio_to_first=None if base_ms is None else base_ms / latency.p50_ms,
                load_ms=load_ms[target],
                peak_memory_mb=case.peak_memory_mb,
                samples=encode_samples(case.rounds),
            )
        )
    return results


def _pauses(
    found: Sequence[rounds.CaseAfterPause], cases: Sequence[rounds.Case]
) -> list[PauseResult]:
    """Return a result for each pause, beside the calls of its target that follow each other."""
    back_to_back = {
        (id(case.process), case.batch_size): statistics.summarise(case.rounds).p50_ms
        for case in cases
    }
    results = []
    for case in found:
        target, ordered = case.process.target, sorted(case.latencies_ms)
        p50_ms = statistics.percentile(ordered, 0.5)
        results.append(
            PauseResult(
                target=target.name,
                provider=target.provider,
                threads=target.threads,
                spin=target.spin,
                batch_size=case.batch_size,
                pause_s=case.pause_s,
                keep_warm=case.keep_warm,
                calls=len(ordered),
                p50_ms=p50_ms,
                p50_interval_ms=statistics.percentile_interval(ordered, 0.5),
                ratio_to_back_to_back=p50_ms / back_to_back[id(case.process), case.batch_size],
            )
        )
    return results
