"""`rtl bench`: model files → latency, throughput and memory, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolchain.cli import tables, terminal
from toolchain.cli.help import GroupedCommand
from toolchain.cli.options import (
    Duration,
    FiniteRange,
    Percentage,
    explain_option,
    json_option,
    quiet_option,
    traceback_option,
)
from toolchain.display import as_markdown
from toolchain.runtime.option_checks import MAX_THREADS

if TYPE_CHECKING:
    from toolchain.benchmarking.result import Benchmark

OPTION_GROUPS = {
    "What is measured": ("providers", "batch_sizes", "threads", "spin", "eager"),
    "What else is measured": ("stages", "cold_start", "limit", "image"),
    "Scenarios of MLPerf": ("scenarios", "latency_bound"),
    "How": ("seconds", "gaps", "busy"),
    "How certain": ("percentile", "retries", "require_valid"),
    "Beside an earlier benchmark or model": ("compare", "rescale", "fail_if_slower"),
    "Result": ("output", "plot", "markdown"),
}


@click.command(cls=GroupedCommand, groups=OPTION_GROUPS)
@click.argument("models", nargs=-1, required=True)
@click.option(
    "--provider",
    "providers",
    multiple=True,
    default=("cpu",),
    show_default=True,
    help="onnxruntime provider: cpu, cuda, openvino, auto, or its own name; may be given several "
    "times.",
)
@click.option(
    "--batch-size",
    "batch_sizes",
    type=click.IntRange(min=1),
    multiple=True,
    default=(1, 8),
    show_default=True,
    help="Images computed at once; may be given several times. A file of one batch size is "
    "measured at its own.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1, max=MAX_THREADS),
    multiple=True,
    help="Threads; may be given several times; by default the cores that may be used.",
)
@click.option(
    "--seconds",
    type=FiniteRange(min=0.1, max=3600),
    default=3.0,
    show_default=True,
    help="How long each case is measured, in five rounds that take turns.",
)
@click.option(
    "--eager/--no-eager",
    default=None,
    help="Measure torch eager too; by default where the run folder and torch are at hand.",
)
@click.option(
    "--spin",
    is_flag=True,
    help="Measure each ONNX file with threads that wait in a busy loop too.",
)
@click.option(
    "--gap",
    "gaps",
    type=Duration(),
    multiple=True,
    help="Measure calls after such a pause too, as requests come: 1s, 200ms; repeatable.",
)
@click.option(
    "--busy",
    type=click.IntRange(min=0, max=MAX_THREADS),
    default=0,
    help="Processes that keep a core busy each meanwhile.  [default: 0]",
)
@click.option(
    "--stages",
    is_flag=True,
    help="Read, decode, resize, inference, softmax and the whole way apart, for one image.",
)
@click.option(
    "--cold-start",
    is_flag=True,
    help="Fresh processes until the first label, with a cold and a warm cache.",
)
@click.option("--limit", is_flag=True, help="How much of this machine's peak each case reaches.")
@click.option(
    "--image",
    type=click.Path(path_type=Path),
    help="The image of --stages and --cold-start; by default a drawn JPEG of 640×480.",
)
@click.option(
    "--scenario",
    "scenarios",
    type=click.Choice(["single-stream", "multi-stream", "offline", "server"]),
    multiple=True,
    help="Measure by MLCommons' LoadGen too, which issues the queries; repeatable. server finds "
    "the highest rate that keeps --latency-bound.",
)
@click.option(
    "--latency-bound",
    type=Duration(),
    help="With --scenario server: what 99 of 100 queries have to keep.  [default: 50ms]",
)
@click.option(
    "--percentile",
    type=click.Choice(["p50", "p90", "p99"]),
    default="p90",
    show_default=True,
    help="Call a case INVALID where it has too few calls for this one: 7, 44 or 459.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="How often what is INVALID is measured again.",
)
@click.option("--require-valid", is_flag=True, help="Exit status 10 where a case is still INVALID.")
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    help="Say what is faster or slower than in this JSON of an earlier rtl bench, or than this "
    "model, which is measured in turn.",
)
@click.option(
    "--rescale",
    is_flag=True,
    help="With --compare: of another machine too, its times scaled by sgemm and marked.",
)
@click.option(
    "--fail-if-slower",
    type=Percentage(),
    help="With --compare: exit status 10 where a case is slower by so much, such as 5%.",
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path),
    help="Draw the calls, throughput over batch size and calls after pauses as a PNG.",
)
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Write the JSON here too; for a run folder it goes to bench/ in it.",
)
@explain_option
@json_option
@quiet_option
@traceback_option
def command(
    models: tuple[str, ...],
    providers: tuple[str, ...],
    batch_sizes: tuple[int, ...],
    gaps: tuple[float, ...],
    require_valid: bool,
    compare: Path | None,
    rescale: bool,
    fail_if_slower: float | None,
    plot: Path | None,
    markdown: bool,
    output: Path | None,
    explain: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Measure MODELS side by side: files, or a run folder for all of its exported files.

    They may be of any precision, backbone and classes: the table says how accurate each is and how
    its answers differ from the first's. Each runs in a process of its own and they take turns. p50,
    p90 and p99 are percentiles of the latency of a batch, ± their 95 % intervals; × is the first
    model's median over this one's in the same case. A verdict says VALID, or INVALID and why.

    \b
    rtl bench runs/photos --batch-size 1 --batch-size 8 --threads 1
    rtl bench model.onnx model.int8.onnx
    rtl bench model.onnx --batch-size 1 --gap 1s --spin
    rtl bench model.onnx --scenario server --latency-bound 50ms --seconds 20
    rtl bench model.onnx --compare before.json --fail-if-slower 5%
    rtl bench new.onnx --compare old.onnx --batch-size 1
    """
    _require_sense(compare, fail_if_slower, rescale, markdown and as_json, options)
    from toolchain.benchmarking.bench import bench
    from toolchain.benchmarking.bounds import require
    from toolchain.benchmarking.output import benchmark_file, keep_benchmark, require_picture

    progress = terminal.progress_reporter(quiet)
    require_picture(plot)
    file = benchmark_file(models, providers, output, progress)
    result = bench(
        models,
        providers=providers,
        batch_sizes=tuple(dict.fromkeys(batch_sizes)),
        gaps=tuple(dict.fromkeys(gaps)),
        compare=compare,
        rescale=rescale,
        progress=progress,
        **options,
    )
    _show(result, as_json, markdown)
    tables.explain(result, "bench", wanted=explain, quiet=quiet or as_json)
    keep_benchmark(result, file, plot)
    require(result, valid=require_valid, not_slower_by=fail_if_slower)
    _print_next(result, quiet)


def _require_sense(
    compare: Path | None,
    slower: float | None,
    rescale: bool,
    two_forms: bool,
    others: dict[str, Any],
) -> None:
    given = "--fail-if-slower" if slower is not None else "--rescale"
    if compare is None and (slower is not None or rescale):
        raise click.UsageError(f"{given} needs --compare")
    if two_forms:
        raise click.UsageError("--markdown and --json are two forms of one result: give one")
    if others["latency_bound"] is not None and "server" not in others["scenarios"]:
        raise click.UsageError("--latency-bound needs --scenario server")


def _show(result: Benchmark, as_json: bool, markdown: bool) -> None:
    if as_json:
        terminal.print_json(result)
    elif markdown:
        terminal.print_text(as_markdown(result.blocks()))
    else:
        tables.show_result(result)


def _print_next(result: Benchmark, quiet: bool) -> None:
    """Print the command that describes the fastest ONNX file, of those that were to be measured."""
    beside = result.comparison
    compared = {case.target for case in beside.cases} if beside and beside.in_turn else None
    fastest = max(
        (
            row
            for row in result.results
            if row.model.endswith(".onnx") and (compared is None or row.target in compared)
        ),
        key=lambda row: row.images_per_s,
        default=None,
    )
    if fastest is not None:
        terminal.print_next("rtl", "inspect", fastest.model, quiet=quiet)
