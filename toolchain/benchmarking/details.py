"""What is measured beside the latencies, where it is asked for: stages, cold start, the limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from toolchain.benchmarking.answers import Answers
from toolchain.benchmarking.figures.case_name import CaseName
from toolchain.benchmarking.figures.statistics import Interval, Latency, summarise
from toolchain.benchmarking.processes.cold_start import ColdStart, measure_cold_start
from toolchain.benchmarking.processes.peak import Peak, measure_peak
from toolchain.benchmarking.processes.stages import MeasuredStages
from toolchain.benchmarking.processes.targets import Target, TargetProcess
from toolchain.benchmarking.rounds import ROUNDS, Case
from toolchain.benchmarking.rows import TargetResult
from toolchain.benchmarking.scenarios.plan import LATENCY_BOUND_S, Scenario
from toolchain.errors import RefusedError
from toolchain.progress import ProgressReporter

DRAWN_SIDES = (640, 480)
COARSE = 20
"""The drawn image has a coarse pattern of so many pixels, and fine noise, as photographs do."""


@dataclass(frozen=True)
class Wanted:
    """What is to be measured; the image is read from a file."""

    stages: bool = False
    cold_start: bool = False
    limit: bool = False
    image: Path | None = None
    """None for a drawn one."""
    scenarios: tuple[Scenario, ...] = ()
    latency_bound_s: float = LATENCY_BOUND_S


class StageResult(CaseName, frozen=True, kw_only=True):
    """The way of one image from its file to its label, in medians in ms.

    The fields are described in docs/json.md.
    """

    calls: int
    read_ms: float
    decode_ms: float
    resize_ms: float | None
    """None where the graph resizes."""
    inference_ms: float
    softmax_ms: float | None
    """None where it is in the inference."""
    label_ms: float
    end_to_end_ms: float
    end_to_end_interval_ms: Interval


class LimitResult(CaseName, frozen=True, kw_only=True):
    """How much of the machine's peak a case reaches. The fields are described in docs/json.md."""

    flops_per_image: float
    operations: str
    """`float32` or `int8`: what the peak was measured with."""
    peak_per_s: float
    share: float
    """Of the peak, in 0…1."""


@dataclass
class Details:
    """What was measured."""

    stages: list[StageResult] = field(default_factory=list)
    flops: dict[Target, float] = field(default_factory=dict)
    peaks: dict[int, Peak] = field(default_factory=dict)
    """Threads → the peak of the machine."""


def measure_cold_starts(
    wanted: Wanted, targets: Sequence[Target], image: Path, progress: ProgressReporter
) -> list[ColdStart]:
    """Return the cold starts of files, where they are wanted. It is done before all else.

    A file that does not start in a fresh process then ends the benchmark before it has begun.
    """
    files = [target for target in targets if wanted.cold_start and not target.eager]
    return [
        measure_cold_start(target, image, cache)
        for target in progress.track(files, "measuring cold starts", len(files))
        for cache in ("cold", "warm")
    ]


def measure_details(
    wanted: Wanted, cases: Sequence[Case], seconds: float, image: Path, progress: ProgressReporter
) -> Details:
    """Measure what is wanted of each target, and how fast the machine multiplies matrices."""
    found = Details()
    processes = list({id(case.process): case.process for case in cases}.values())
    if wanted.stages:
        for process in progress.track(processes, "measuring stages", len(processes)):
            found.stages.append(_stage_result(process.target, process.stages(image, seconds)))
    if wanted.limit:
        found.flops = _flops(processes)
    # Of every benchmark, because another machine's is compared by it.
    threads = sorted({process.target.threads for process in processes})
    for count in progress.track(threads, "measuring the machine", len(threads)):
        try:
            found.peaks[count] = measure_peak(count, int8=wanted.limit)
        except RefusedError:
            if wanted.limit:
                raise
    return found


def limit_results(
    details: Details, results: Sequence[TargetResult], answers: Sequence[Answers]
) -> list[LimitResult]:
    """Return how much of the peak each case reaches, whose operations are known.

    torch computes as much as the ONNX file of the same model.
    """
    of_target = {(item.target.name, item.target.provider): item for item in answers}
    models = {item.target: item.model for item in answers}
    flops = {models[target]: count for target, count in details.flops.items()}
    rows = []
    for row in results:
        item, peak = of_target[row.target, row.provider], details.peaks.get(row.threads)
        count = flops.get(item.model)
        if count is None or peak is None:
            continue
        int8 = item.precision == "int8" and peak.int8_ops_per_s is not None
        per_s = (peak.int8_ops_per_s if int8 else None) or peak.sgemm_flops_per_s
        rows.append(
            LimitResult(
                **row.case._asdict(),
                flops_per_image=count,
                operations="int8" if int8 else "float32",
                peak_per_s=per_s,
                share=count * row.images_per_s / per_s,
            )
        )
    return rows


def image_file(wanted: Wanted, folder: Path) -> Path:
    """Return the image that is measured with; it is drawn into a folder where none was given."""
    drawn = folder / "drawn.jpg"
    if wanted.image is None and (wanted.stages or wanted.cold_start):
        drawn_image(drawn)
    return wanted.image or drawn


def drawn_image(file: Path) -> Path:
    """Draw a JPEG about as hard to decode as a photograph, and return its file."""
    from PIL import Image

    generator = np.random.default_rng(0)
    width, height = DRAWN_SIDES
    coarse = generator.integers(0, 256, (height // COARSE, width // COARSE, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize(DRAWN_SIDES, Image.Resampling.BICUBIC)
    noise = generator.normal(0, 8, (height, width, 3))
    pixels = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(file, quality=90)
    return file


def _flops(processes: Sequence[TargetProcess]) -> dict[Target, float]:
    onnx = [process for process in processes if process.target.path.suffix == ".onnx"]
    return {process.target: process.flops_of_image() for process in onnx}


def _stage_result(target: Target, found: MeasuredStages) -> StageResult:
    def median_ms(latencies: Sequence[float]) -> float:
        return _of_one_series(latencies).p50_ms

    whole, softmax_ms = _of_one_series(found.end_to_end), found.softmax_ms
    return StageResult(
        target=target.name,
        provider=target.provider,
        threads=target.threads,
        spin=target.spin,
        batch_size=1,
        calls=whole.calls,
        read_ms=median_ms(found.read),
        decode_ms=median_ms(found.decode),
        resize_ms=median_ms(found.resize) if found.resize else None,
        inference_ms=max(0.0, median_ms(found.network) - (softmax_ms or 0.0)),
        softmax_ms=softmax_ms,
        label_ms=median_ms(found.label),
        end_to_end_ms=whole.p50_ms,
        end_to_end_interval_ms=whole.p50_interval_ms,
    )


def _of_one_series(latencies: Sequence[float]) -> Latency:
    """Return the figures of calls that followed each other, their parts taken for rounds."""
    return summarise([part.tolist() for part in np.array_split(np.array(latencies), ROUNDS)])
