"""`rtl export`: a run folder → model files, each verified before it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolchain.cli import tables, terminal
from toolchain.cli.choices import Choice
from toolchain.cli.help import GroupedCommand
from toolchain.cli.next_steps import example_image
from toolchain.cli.options import (
    FiniteRange,
    data_option,
    explain_option,
    images_option,
    json_option,
    quiet_option,
    traceback_option,
)

if TYPE_CHECKING:
    from toolchain.exporters.export_result import ExportResult
    from toolchain.exporters.precision.options import Method
    from toolchain.runtime.card import Format, InputKind, Precision


class BatchSize(click.ParamType[int | None]):
    """A parameter that is `dynamic`, or the one batch size that a file takes."""

    name = "dynamic|N"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        """Return the batch size; None for `dynamic`."""
        if value == "dynamic":
            return None
        if not value.isdecimal() or int(value) < 1:
            self.fail(f"'{value}' is neither 'dynamic' nor a number of images", param, ctx)
        return int(value)


OPTION_GROUPS = {
    "What is written": ("formats", "precisions", "inputs", "output", "delta"),
    "Shape of the graph": ("batch", "image_size", "opset"),
    "fp16 and int8": ("max_drop", "max_flips", "calibration_images", "calibration_method"),
    "Verification": ("data", "images"),
}


@click.command(cls=GroupedCommand, groups=OPTION_GROUPS)
@click.argument("run")
@click.option(
    "--format",
    "formats",
    type=Choice(["onnx", "torchscript", "pt2"]),
    multiple=True,
    default=("onnx",),
    show_default=True,
    help="Format to write; may be given several times.",
)
@click.option(
    "--precision",
    "precisions",
    type=Choice(["fp32", "fp16", "int8"]),
    multiple=True,
    default=("fp32",),
    show_default=True,
    help="fp16 is for GPUs, int8 for CPUs; kept only where accuracy and labels hold. Repeatable.",
)
@click.option(
    "--input",
    "inputs",
    type=Choice(["pixels", "tensor", "image"]),
    multiple=True,
    default=("pixels",),
    show_default=True,
    help="What the graph takes: pixels (uint8, resized and cropped), tensor (float32, normalised) "
    "or image (uint8 of any size). Repeatable.",
)
@click.option(
    "--batch", type=BatchSize(), default="dynamic", help="Batch size.  [default: dynamic]"
)
@click.option(
    "--image-size",
    type=click.IntRange(min=32),
    help="Side that the network sees, in pixels; by default that of training.",
)
@click.option(
    "--opset", type=click.IntRange(18, 21), default=18, show_default=True, help="ONNX opset."
)
@click.option(
    "--max-drop",
    type=FiniteRange(min=0, max=100),
    default=1.0,
    show_default=True,
    help="Points of accuracy that fp16 or int8 may cost.",
)
@click.option(
    "--max-flips",
    type=FiniteRange(min=0, max=100),
    default=2.0,
    show_default=True,
    help="Per cent of the labels that fp16 or int8 may change.",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(min=8),
    default=128,
    show_default=True,
    help="int8: training images that the ranges are found on.",
)
@click.option(
    "--calibration-method",
    type=Choice(["minmax", "entropy", "percentile"]),
    default="minmax",
    show_default=True,
    help="int8: how a range follows from the values seen.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="File or folder; by default export/ in RUN.",
)
@click.option(
    "--delta",
    type=click.Path(path_type=Path),
    help="A delta.safetensors (strategy lora or bn): RUN's weights with it are exported, by "
    "default into export/ beside it, or export/NAME/ for a delta called NAME.safetensors.",
)
@data_option
@images_option
@explain_option
@json_option
@quiet_option
@traceback_option
def command(
    run: str,
    formats: tuple[Format, ...],
    precisions: tuple[Precision, ...],
    inputs: tuple[InputKind, ...],
    batch: int | None,
    image_size: int | None,
    opset: int,
    max_drop: float,
    max_flips: float,
    calibration_images: int,
    calibration_method: Method,
    output: Path | None,
    delta: Path | None,
    data: str | None,
    images: int,
    explain: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Export the trained model of RUN; what fails verification is not kept.

    Every file holds weights, normalisation and card. Each combination of --format, --precision and
    --input is a file of its own, and what is off the default shows in its name: model.batch4.onnx.

    \b
    rtl export runs/photos --format onnx --format torchscript
    rtl export runs/photos --precision fp32 --precision int8
    rtl export runs/photos --input image
    rtl export runs/photos --delta runs/other/delta.safetensors
    """
    from toolchain.exporters.variants import variants

    try:
        wanted = variants(formats, precisions, inputs, batch=batch, opset=opset)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    from toolchain.exporters.export import export
    from toolchain.exporters.export_result import ExportResult
    from toolchain.exporters.precision.options import Calibration, Limits, Reduction

    limits = Limits(max_drop / 100, max_flips / 100)
    outcomes = export(
        run,
        wanted,
        output,
        delta=delta,
        data=data,
        images=images,
        image_size=image_size,
        reduction=Reduction(limits, Calibration(calibration_images, calibration_method)),
        progress=terminal.progress_reporter(quiet),
    )
    result = ExportResult(list(outcomes))
    _show(result, explain, as_json, quiet)
    _print_next(run, delta, data, [item.path for item in result.kept], quiet)


def _show(result: ExportResult, explain: bool, as_json: bool, quiet: bool) -> None:
    """Print the files that were kept, and raise the error of one that was not."""
    from toolchain.exporters.report import ExportReport

    if result.kept and as_json:
        terminal.print_json(ExportReport(files=[item.record for item in result]))
    elif result.kept:
        tables.show_exported(result.kept)
    tables.explain(result, "export", wanted=explain, quiet=quiet or as_json)
    if failure := result.error:
        raise failure


def _print_next(
    run: str, delta: Path | None, data: str | None, paths: list[Path], quiet: bool
) -> None:
    """Print the command for a first label, which needs an ONNX file; else the one that verifies."""
    onnx = [path for path in paths if path.suffix == ".onnx"]
    if onnx:
        image = example_image(run, data, delta)
        terminal.print_next("rtl", "predict", onnx[0], image, quiet=quiet)
    else:
        terminal.print_next("rtl", "verify", paths[0], quiet=quiet)
