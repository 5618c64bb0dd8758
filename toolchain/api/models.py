"""Model files from Python: export them, verify, measure and inspect them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from toolchain.api.arguments import (
    CalibrationCount,
    Count,
    Location,
    NotNegative,
    Opset,
    Pause,
    Percentage,
    Percentile,
    Points,
    Processes,
    Progress,
    Seconds,
    Side,
    Threads,
    checked,
    checked_each,
    checked_path,
    checked_paths,
    checked_progress,
    optional_path,
)
from toolchain.api.packages import names_missing_packages
from toolchain.errors import SettingsError
from toolchain.exporters.precision.options import Calibration, Limits, Method, Reduction
from toolchain.runtime.card import Format, InputKind, Precision

if TYPE_CHECKING:
    from toolchain.benchmarking.result import Benchmark
    from toolchain.exporters.export_result import ExportResult
    from toolchain.exporters.variants import Variant
    from toolchain.verification.inspection_result import Inspection
    from toolchain.verification.result import Verification


@names_missing_packages
def export(
    run: Location,
    format: Format | Sequence[Format] = "onnx",
    *,
    precision: Precision | Sequence[Precision] = "fp32",
    input: InputKind | Sequence[InputKind] = "pixels",
    batch: int | Literal["dynamic"] = "dynamic",
    image_size: int | None = None,
    opset: int = 18,
    max_drop: float = 1.0,
    max_flips: float = 2.0,
    calibration_images: int = 128,
    calibration_method: Method = "minmax",
    output: Location | None = None,
    delta: Location | None = None,
    data: Location | None = None,
    images: int = 400,
    progress: Progress = None,
) -> ExportResult:
    """Export the trained model of a run folder; what fails verification is not kept (`rtl export`).

    `format` is "onnx", "torchscript" or "pt2", `precision` "fp32", "fp16" or "int8", and `input`
    what the graph takes: "pixels" (uint8 [batch, size, size, 3]), "tensor" (float32 [batch, 3,
    size, size], normalised) or "image" (uint8 [height, width, 3] of any size). Each may be a list;
    every combination becomes a file. `batch` is "dynamic" or the only batch size the file takes,
    `image_size` the side of the network's input in pixels where it is not that of training.
    `max_drop` is how many points of accuracy fp16 or int8 may cost, `max_flips` how many per cent
    of the labels it may change. Up to `images` validation images are compared from their bytes.
    `output` is a folder, or for one file its name; by default export/ in the run folder. What is
    off the default shows in a file's name, so that different files never replace each other.
    `delta` is a delta.safetensors of strategy "lora" or "bn": the model that it was trained as is
    exported, made from the weights of `run`, by default into export/ beside the delta.

    Returns the outcome of each file, in order. Raises ParityError where a file does not answer like
    the trained model and RefusedError where a lower precision costs too much; the other files are
    kept, and the error's `result` is the ExportResult with all of them. Raises DataError for a run
    or images that can't be used, SettingsError for arguments that contradict each other.

    >>> import toolchain as rtl
    >>> exported = rtl.export(run, "torchscript", output="made")
    >>> [file.path.name for file in exported.kept]
    ['model.torchscript.pt']
    """
    wanted = _variants(format, precision, input, batch, opset)
    reduction = _reduction(max_drop, max_flips, calibration_images, calibration_method)
    options: dict[str, Any] = {
        "delta": optional_path("delta", delta),
        "data": optional_path("data", data),
        "images": checked("images", images, Count),
        "image_size": checked("image_size", image_size, Side | None),
        "progress": checked_progress(progress),
    }
    run, output = checked_path("run", run), optional_path("output", output)
    from toolchain.exporters import export as story

    outcomes = story.export(run, wanted, output, reduction=reduction, **options)
    return story.accepted(outcomes)


def _variants(
    format: Format | Sequence[Format],
    precision: Precision | Sequence[Precision],
    input: InputKind | Sequence[InputKind],
    batch: int | Literal["dynamic"],
    opset: int,
) -> list[Variant]:
    """Return every combination; SettingsError where one does not exist."""
    formats: tuple[Format, ...] = checked_each("format", format, Format)
    precisions: tuple[Precision, ...] = checked_each("precision", precision, Precision)
    inputs: tuple[InputKind, ...] = checked_each("input", input, InputKind)
    batch = checked("batch", batch, Count | Literal["dynamic"])
    opset = checked("opset", opset, Opset)
    from toolchain.exporters.variants import variants

    only = None if batch == "dynamic" else batch
    try:
        return variants(formats, precisions, inputs, batch=only, opset=opset)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _reduction(
    max_drop: float, max_flips: float, calibration_images: int, calibration_method: Method
) -> Reduction:
    """Return how fp16 and int8 are made and judged; the limits are given in per cent."""
    limits = Limits(
        checked("max_drop", max_drop, Points) / 100, checked("max_flips", max_flips, Points) / 100
    )
    calibration = Calibration(
        checked("calibration_images", calibration_images, CalibrationCount),
        checked("calibration_method", calibration_method, Method),
    )
    return Reduction(limits, calibration)


@names_missing_packages
def verify(
    model: Location,
    *,
    run: Location | None = None,
    data: Location | None = None,
    images: int = 400,
    sha256: str | None = None,
    max_flips: float = 2.0,
    provider: str = "cpu",
    threads: int | None = None,
    progress: Progress = None,
) -> Verification:
    """Compare a model file with every reference at hand (`rtl verify`).

    References are the card in the file, the outputs stored beside it, and, where the run folder and
    torch are there, the trained model on up to `images` validation images. `run` and `data` name
    the run folder and the images where they were moved. `sha256` is the digest that the file must
    have. `max_flips` is how many per cent of the validation images may have another label in fp16
    and int8. `provider` is an onnxruntime provider: "cpu", "cuda" or its own name.

    Returns a row for each level; `passed` is True where all of them passed. A model that differs is
    no error here. Raises ModelFileError or ProviderError for a file that can't be opened,
    ParityError for another digest and where there is nothing to compare it with, SettingsError.

    >>> import toolchain as rtl
    >>> verification = rtl.verify(model, images=8)
    >>> verification.passed, verification.levels[0].level
    (True, 'card')
    """
    model, run = checked_path("model", model), optional_path("run", run)
    data, images = optional_path("data", data), checked("images", images, Count)
    sha256 = checked("sha256", sha256, str | None)
    max_flips = checked("max_flips", max_flips, Points) / 100
    provider = checked("provider", provider, str)
    threads = checked("threads", threads, Threads | None)
    reporter = checked_progress(progress)
    from toolchain.verification import verify as story

    return story.verify(
        model,
        run=run,
        data=data,
        provider=provider,
        threads=threads,
        images=images,
        sha256=sha256,
        max_flips=max_flips,
        progress=reporter,
    )


@names_missing_packages
def bench(
    models: Location | Sequence[Location],
    *,
    provider: str | Sequence[str] = "cpu",
    batch_size: int | Sequence[int] = (1, 8),
    threads: int | Sequence[int] = (),
    seconds: float = 3.0,
    eager: bool | None = None,
    spin: bool = False,
    gap: float | Sequence[float] = (),
    busy: int = 0,
    percentile: Percentile = "p90",
    retries: int = 2,
    require_valid: bool = False,
    stages: bool = False,
    cold_start: bool = False,
    limit: bool = False,
    image: Location | None = None,
    compare: Location | None = None,
    rescale: bool = False,
    fail_if_slower: float | None = None,
    plot: Location | None = None,
    output: Location | None = None,
    progress: Progress = None,
) -> Benchmark:
    """Measure model files beside each other, each in a process of its own (`rtl bench`).

    `models` are files, or a run folder for all of its exported files; they may differ in precision,
    backbone, classes and image size. `provider`, `batch_size` and `threads` may be lists; `threads`
    defaults to the cores that may be used. A file of one batch size is measured at it, and the
    others too. Each case is measured for `seconds`. `eager` adds torch itself; None does so where
    the run folder and torch are at hand. `spin` adds each ONNX file with threads that wait in a
    busy loop, `gap` calls after pauses of so many seconds, and `busy` is how many processes keep a
    core busy meanwhile. A case whose rounds disagree, that was disturbed, or has too few calls for
    `percentile` is measured again up to `retries` times, and is INVALID after that; with
    `require_valid` RefusedError is raised then. `stages` measures read, decode, resize, inference
    and softmax of one image apart, `cold_start` fresh processes until the first label, `limit` the
    share of this machine's peak; `image` is the file for the first two. `compare` is the JSON of an
    earlier benchmark: the result's `comparison` says which cases became faster or slower, and with
    `fail_if_slower` RefusedError is raised where one is slower by so many per cent; with `rescale`
    it may be of another machine, whose times are scaled by how fast both multiply matrices. `plot`
    is a PNG file to draw the calls, the throughput and the pauses into. The JSON goes to `output`;
    for a run folder, to bench/ in it.

    Returns a row for each case: latencies of a batch in ms (p50, p90, p99, mean, minimum) and the
    images per second with 95 % intervals, peak memory in MB, and a verdict with its reasons; for
    each model its accuracy, and how its answers differ from the first's. Raises RefusedError where
    a file does not compute what its card says, or files of one model in float32 give different
    answers, and what opening them raises; SettingsError.

    >>> import toolchain as rtl
    >>> benchmark = rtl.bench(model, batch_size=1, seconds=0.1, eager=False)
    >>> [(case.target, case.batch_size) for case in benchmark.results]
    [('model.onnx', 1)]
    """
    files = checked_paths("models", models)
    if not files:
        raise SettingsError("models: none is given")
    options = {
        "providers": checked_each("provider", provider, str),
        "batch_sizes": tuple(dict.fromkeys(checked_each("batch_size", batch_size, Count))),
        "threads": checked_each("threads", threads, Threads, none=True),
        "seconds": checked("seconds", seconds, Seconds),
        "eager": checked("eager", eager, bool | None),
        "spin": checked("spin", spin, bool),
        "gaps": tuple(dict.fromkeys(checked_each("gap", gap, Pause, none=True))),
        "busy": checked("busy", busy, Processes),
        "percentile": checked("percentile", percentile, Percentile),
        "retries": checked("retries", retries, NotNegative),
        "stages": checked("stages", stages, bool),
        "cold_start": checked("cold_start", cold_start, bool),
        "limit": checked("limit", limit, bool),
        "image": optional_path("image", image),
        "compare": optional_path("compare", compare),
        "rescale": checked("rescale", rescale, bool),
        "progress": checked_progress(progress),
    }
    bounds = {
        "valid": checked("require_valid", require_valid, bool),
        "not_slower_by": checked("fail_if_slower", fail_if_slower, Percentage | None),
    }
    written = {"output": optional_path("output", output), "plot": optional_path("plot", plot)}
    return _measured(files, options, written, bounds)


def _measured(
    files: tuple[str, ...],
    options: dict[str, Any],
    written: dict[str, str | None],
    bounds: dict[str, Any],
) -> Benchmark:
    """Measure files, write the result where it is asked for, and hold it to what is required.

    `bounds` are the arguments of `benchmarking.bounds.require`.
    """
    if options["rescale"] and options["compare"] is None:
        raise SettingsError("rescale: it needs compare, the benchmark to be beside")
    if bounds["not_slower_by"] is not None and options["compare"] is None:
        raise SettingsError("fail_if_slower: it needs compare, the benchmark to be beside")
    from toolchain.benchmarking import bench as story
    from toolchain.benchmarking.bounds import require
    from toolchain.benchmarking.output import benchmark_file, keep_picture, require_picture
    from toolchain.files import keep_result

    plot = written["plot"]
    if plot is not None:
        require_picture(plot)
    json_file = benchmark_file(files, options["providers"], written["output"], options["progress"])
    result = story.bench(files, **options)
    if json_file:
        keep_result(json_file, result)
    if plot is not None:
        keep_picture(plot, result)
    require(result, **bounds)
    return result


@names_missing_packages
def inspect(model: Location) -> Inspection:
    """Describe a model file and what lies beside it (`rtl inspect`); needs no torch.

    Returns the card (classes, preprocessing, metrics, origin), the digests, the operators of an
    ONNX file, whether the onnxruntime that is installed opens it, and whether the parity report and
    the references beside it belong to it. Raises ModelFileError for a file that is not rtl's.

    >>> import toolchain as rtl
    >>> rtl.inspect(model).card.classes
    ('across', 'aslant', 'down')
    """
    model = checked_path("model", model)
    from toolchain.verification.inspection import inspect_model

    return inspect_model(model)
