"""Model files from Python: export them, verify and inspect them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from toolchain.api.arguments import (
    CalibrationCount,
    Count,
    Location,
    Opset,
    Points,
    Progress,
    Side,
    Threads,
    checked,
    checked_each,
    checked_path,
    checked_progress,
    optional_path,
)
from toolchain.api.packages import names_missing_packages
from toolchain.errors import SettingsError
from toolchain.exporters.precision.options import Calibration, Limits, Method, Reduction
from toolchain.runtime.card import Format, InputKind, Precision

if TYPE_CHECKING:
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
    exported, made from the weights of `run`, by default into export/ beside the delta, or
    export/NAME/ for one called NAME.safetensors.

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
