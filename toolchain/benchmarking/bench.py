"""`rtl bench`: targets are opened, their answers compared, and timed in turn."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from toolchain.benchmarking import rounds
from toolchain.benchmarking.answers import (
    Answers,
    answers_of,
    compared_models,
    reason_against_answers,
    require_consistent,
)
from toolchain.benchmarking.chosen import chosen_targets
from toolchain.benchmarking.comparison import (
    comparable_benchmark,
    compared,
    require_common_case,
    require_comparable,
)
from toolchain.benchmarking.details import (
    Wanted,
    image_file,
    limit_results,
    measure_cold_starts,
    measure_details,
)
from toolchain.benchmarking.figures.conditions import why_no_energy
from toolchain.benchmarking.figures.verdicts import Percentile, Reason, reasons_against
from toolchain.benchmarking.in_turn import measured_in_turn, pairs_of, reference_model
from toolchain.benchmarking.processes.load import busy_processes
from toolchain.benchmarking.processes.targets import Target, TargetProcess
from toolchain.benchmarking.processes.worker import Opened
from toolchain.benchmarking.result import Benchmark
from toolchain.benchmarking.rows import ComparedModel, LeftOut
from toolchain.benchmarking.scenario_runs import measure_scenarios
from toolchain.benchmarking.scenarios.loadgen import require_loadgen
from toolchain.benchmarking.scenarios.plan import Scenario, checked_bound
from toolchain.benchmarking.summary import pause_results, target_results
from toolchain.errors import MissingExtraError, ModelFileError, ProviderError, ToolchainError
from toolchain.machine import this_machine
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.image.decode import read_image
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
    percentile: Percentile = "p90",
    retries: int = 2,
    stages: bool = False,
    cold_start: bool = False,
    limit: bool = False,
    image: str | os.PathLike[str] | None = None,
    scenarios: Sequence[Scenario] = (),
    latency_bound: float | None = None,
    compare: str | os.PathLike[str] | None = None,
    rescale: bool = False,
    progress: ProgressReporter | None = None,
) -> Benchmark:
    """Measure model files side by side; a run folder stands for all of its exported files.

    Every file is measured with each provider, number of threads and batch size, for `seconds` each.
    A file that takes one batch size only is measured at it, and the others too.
    `threads` defaults to the cores that this process may use. `eager` adds torch eager, for which
    the run folder must be known; None adds it where that is so and torch is installed. `spin` adds
    each ONNX file with threads that wait in a busy loop. `gaps` are pauses in seconds after which
    calls are measured too, and `busy` is how many processes keep a core busy meanwhile. Cases whose
    rounds disagree, or have too few calls for `percentile`, are measured again up to `retries`
    times. `stages`, `cold_start` and `limit` are measured too where they are asked for, the first
    two with `image` or a drawn one. `scenarios` are measured by MLCommons' LoadGen, that of a
    server with `latency_bound` in seconds. `compare` is the JSON of an earlier benchmark, beside
    which this one is put; with `rescale` it may be of another machine, whose times are scaled. Or
    it is a model file, or a run folder with one, which is measured in turn with the others.

    The models may differ in anything. Raises RefusedError where a file does not compute what its
    card says, where files of one model in float32 give different answers, or a process dies;
    ModelFileError, ProviderError, DataError or MissingExtraError when one can't be opened. Where it
    can't be put beside `compare`, RefusedError or DataError, before anything is measured.
    """
    progress = progress or SilentReporter()
    wanted = _wanted(stages, cold_start, limit, image, scenarios, latency_bound)
    reference = reference_model(compare, rescale=rescale)
    before = _benchmark_before(None if reference else compare, busy, rescale=rescale)
    how = How(seconds, gaps, busy, percentile, retries, wanted)
    counts = threads or (usable_cores(),)
    targets = chosen_targets(models, providers, counts, eager, spin=spin, reference=reference)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rtl-bench-")))
        processes = [stack.enter_context(TargetProcess(target)) for target in targets]
        opened, left_out = _opened(processes, _stored_pixels(targets, folder), progress)
        answers = [answers_of(process.target, reply) for process, reply in opened]
        require_consistent(answers)
        sizes = _batch_sizes(opened, batch_sizes)
        if before is not None:
            cases = [process.target.case(size) for process, each in sizes for size in each]
            require_common_case(before, cases, str(compare))
        pairs = pairs_of(sizes) if reference is not None else []
        stack.enter_context(busy_processes(busy))
        found = _measured(opened, sizes, answers, how, folder, progress)
        comparison = None
        if before is not None:
            comparison = compared(before, found, str(compare), rescale=rescale)
        if pairs:
            comparison = measured_in_turn(pairs, seconds, found, str(compare), progress)
    return msgspec.structs.replace(found, left_out=left_out, comparison=comparison)


def _wanted(
    stages: bool,
    cold_start: bool,
    limit: bool,
    image: str | os.PathLike[str] | None,
    scenarios: Sequence[Scenario],
    latency_bound_s: float | None,
) -> Wanted:
    """Return what is measured beside the latencies; raise here, before anything is measured."""
    distinct = tuple(dict.fromkeys(scenarios))
    bound_s = checked_bound(distinct, latency_bound_s)
    if distinct:
        require_loadgen()
    if image is not None:
        read_image(image)
    file = None if image is None else Path(image)
    return Wanted(stages, cold_start, limit, file, distinct, bound_s)


def _benchmark_before(
    compare: str | os.PathLike[str] | None, busy: int, *, rescale: bool
) -> Benchmark | None:
    """Return the benchmark to be put beside; raise where this one won't be comparable with it."""
    if compare is None:
        return None
    before = comparable_benchmark(Path(compare))
    require_comparable(before, this_machine(), busy, str(compare), rescale=rescale)
    return before


@dataclass(frozen=True)
class How:
    """How the targets are measured; see `bench`."""

    seconds: float
    gaps: Sequence[float]
    busy: int
    percentile: Percentile
    retries: int
    wanted: Wanted

    def judge(self, case: rounds.Case) -> list[Reason]:
        """Return what speaks against the figures of a case."""
        return reasons_against(case.rounds, case.conditions, self.percentile, busy=self.busy)


def _measured(
    opened: Sequence[tuple[TargetProcess, Opened]],
    sizes: Sequence[tuple[TargetProcess, Sequence[int]]],
    answers: Sequence[Answers],
    how: How,
    folder: Path,
    progress: ProgressReporter,
) -> Benchmark:
    """Return the benchmark of targets that are open. `folder` takes a drawn image, and logs."""
    models, image = compared_models(answers), image_file(how.wanted, folder)
    targets = [process.target for process, _ in opened]
    cold_starts = measure_cold_starts(how.wanted, targets, image, progress)
    cases = rounds.measure(sizes, how.seconds, how.judge, how.retries, progress)
    after_pauses = rounds.measure_after_pauses(cases, how.gaps, progress)
    wrong = _wrong_answers(cases, answers, models)
    details = measure_details(how.wanted, cases, how.seconds, image, progress)
    scenarios = measure_scenarios(
        how.wanted.scenarios, how.wanted.latency_bound_s, cases, how.seconds, folder, progress
    )
    load_ms = {process.target: reply.load_ms for process, reply in opened}
    results = target_results(cases, load_ms, lambda case: how.judge(case) + wrong[id(case)])
    verdicts = {row.verdict for row in results} | {row.verdict for row in scenarios}
    return Benchmark(
        verdict="INVALID" if "INVALID" in verdicts else "VALID",
        machine=this_machine(),
        seconds_per_case=how.seconds,
        busy=how.busy,
        percentile=how.percentile,
        models=models,
        results=results,
        pauses=pause_results(after_pauses, results),
        stages=details.stages,
        cold_starts=cold_starts,
        scenarios=scenarios,
        peaks=[details.peaks[count] for count in sorted(details.peaks)],
        limits=limit_results(details, results, answers),
        no_energy=why_no_energy(),
    )


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


def _wrong_answers(
    cases: Sequence[rounds.Case], answers: Sequence[Answers], models: Sequence[ComparedModel]
) -> dict[int, list[Reason]]:
    """Return, by the identity of each case, what speaks against its answers after it."""
    before = {item.target: item for item in answers}
    known = {(model.model, model.target): model for model in models}
    found = {}
    for case in cases:
        target = case.process.target
        reason = reason_against_answers(
            before[target],
            known[str(target.path), target.name],
            case.process.answer(case.batch_size),
        )
        found[id(case)] = [] if reason is None else [reason]
    return found
