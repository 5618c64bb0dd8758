"""`rtl bench`: model files → latency, throughput and memory, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
from toolchain.errors import ToolchainError
from toolchain.files import keep_result
from toolchain.runtime.option_checks import MAX_THREADS

if TYPE_CHECKING:
    from toolchain.benchmarking.result import Benchmark

OPTION_GROUPS = {
    "What is measured": ("providers", "batch_sizes", "threads", "spin", "eager"),
    "How": ("seconds", "gaps", "busy"),
    "Beside an earlier benchmark": ("compare", "fail_if_slower"),
    "Result": ("output", "markdown"),
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
    type=FiniteRange(min=0.1),
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
    "--compare",
    type=click.Path(path_type=Path),
    help="Say what became faster or slower than in this JSON of an earlier rtl bench.",
)
@click.option(
    "--fail-if-slower",
    type=Percentage(),
    help="With --compare: exit status 10 where a case is slower by so much, such as 5%.",
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
    threads: tuple[int, ...],
    seconds: float,
    eager: bool | None,
    spin: bool,
    gaps: tuple[float, ...],
    busy: int,
    compare: Path | None,
    fail_if_slower: float | None,
    markdown: bool,
    output: Path | None,
    explain: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure MODELS side by side: files, or a run folder for all of its exported files.

    They may be of any precision, backbone and classes: the table says how accurate each is and how
    its answers differ from the first's. Each runs in a process of its own and they take turns. p50,
    p90 and p99 are percentiles of the latency of a batch; × is the first model's median over this
    one's, at the same batch and threads.

    \b
    rtl bench runs/photos --batch-size 1 --batch-size 8 --threads 1
    rtl bench model.onnx model.int8.onnx
    rtl bench model.onnx --batch-size 1 --gap 1s --spin
    rtl bench model.onnx --compare before.json --fail-if-slower 5%
    """
    _require_sense(compare, fail_if_slower, markdown and as_json)
    from toolchain.benchmarking.bench import bench
    from toolchain.benchmarking.comparison import require_not_slower
    from toolchain.benchmarking.output import benchmark_file

    progress = terminal.progress_reporter(quiet)
    file = benchmark_file(models, providers, output, progress)
    try:
        result = bench(
            models,
            providers=providers,
            batch_sizes=tuple(dict.fromkeys(batch_sizes)),
            threads=threads,
            seconds=seconds,
            eager=eager,
            spin=spin,
            gaps=tuple(dict.fromkeys(gaps)),
            busy=busy,
            compare=compare,
            progress=progress,
        )
    except ToolchainError as error:
        if error.result is not None:  # it is measured, but can't be put beside the earlier one
            _show(error.result, as_json, markdown)
        raise
    _show(result, as_json, markdown)
    tables.explain(result, "bench", wanted=explain, quiet=quiet or as_json)
    if file:
        keep_result(file, result)
    if fail_if_slower is not None:
        require_not_slower(result, fail_if_slower / 100)
    _print_next(result, quiet)


def _require_sense(compare: Path | None, limit: float | None, two_forms: bool) -> None:
    if limit is not None and compare is None:
        raise click.UsageError("--fail-if-slower needs --compare")
    if two_forms:
        raise click.UsageError("--markdown and --json are two forms of one result: give one")


def _show(result: Benchmark, as_json: bool, markdown: bool) -> None:
    if as_json:
        terminal.print_json(result)
    elif markdown:
        terminal.print_text(as_markdown(result.blocks()))
    else:
        tables.show_result(result)


def _print_next(result: Benchmark, quiet: bool) -> None:
    """Print the command that describes the fastest ONNX file."""
    fastest = max(
        (row for row in result.results if row.model.endswith(".onnx")),
        key=lambda row: row.images_per_s,
        default=None,
    )
    if fastest is not None:
        terminal.print_next("rtl", "inspect", fastest.model, quiet=quiet)
