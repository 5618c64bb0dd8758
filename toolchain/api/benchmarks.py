"""Measure model files from Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from toolchain.api.arguments import (
    Count,
    Location,
    NotNegative,
    Pause,
    Percentage,
    Percentile,
    Processes,
    Progress,
    Scenario,
    Seconds,
    Threads,
    checked,
    checked_each,
    checked_paths,
    checked_progress,
    optional_path,
)
from toolchain.api.packages import names_missing_packages
from toolchain.errors import SettingsError

if TYPE_CHECKING:
    from toolchain.benchmarking.result import Benchmark


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
    scenario: Scenario | Sequence[Scenario] = (),
    latency_bound: float | None = None,
    compare: Location | None = None,
    rescale: bool = False,
    fail_if_slower: float | None = None,
    plot: Location | None = None,
    output: Location | None = None,
    progress: Progress = None,
) -> Benchmark:
    """Measure model files beside each other, each in a process of its own (`rtl bench`).

    `models` are files of any kind, or a run folder for all of its exported files. `provider`,
    `batch_size` and `threads` (by default the cores that may be used) may be lists. A case takes
    `seconds`. `eager` adds torch itself (None: where it is installed and the run is at hand),
    `spin` threads that wait in a busy loop, `gap` calls after so many seconds; `busy` processes
    keep a core busy each. What is disturbed, or has too few calls for `percentile`, is measured up
    to `retries` times more, and then INVALID. `stages` are the steps of one image, `cold_start`
    fresh processes until the first label, both of `image`; `limit` is the share of this machine's
    peak. `scenario` is measured by MLCommons' LoadGen: "single-stream", "multi-stream", "offline",
    "server", which is the highest rate of queries that keeps `latency_bound` (seconds, by default
    0.05) at the 99th percentile. `compare` is the JSON of an earlier benchmark, of another machine
    only with `rescale`, or a model file that is measured in turn with the others. `plot` is a PNG
    to draw into. The JSON goes to `output`; for a run folder, to bench/ in it.

    Returns a row for each case: latencies of a batch in ms and images per second with 95 %
    intervals, peak memory in MB, and a verdict with its reasons; for each model its accuracy and
    how its answers differ from the first's. Raises RefusedError where a file does not compute what
    its card says, with `require_valid` where a case is INVALID, and with `fail_if_slower` where one
    is slower than before by so many per cent; SettingsError; and what opening a file raises.

    >>> import toolchain as rtl
    >>> benchmark = rtl.bench(model, batch_size=1, seconds=0.1, eager=False)
    >>> [(case.target, case.batch_size) for case in benchmark.results]
    [('model.onnx', 1)]
    """
    given = dict(locals())
    return _measured(checked_paths("models", models), _checked_options(given), given)


def _checked_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `bench` as those of the story."""
    batch_sizes = checked_each("batch_size", given["batch_size"], Count)
    gaps = checked_each("gap", given["gap"], Pause, none=True)
    kinds = {"seconds": Seconds, "eager": bool | None, "busy": Processes, "percentile": Percentile}
    kinds |= {"retries": NotNegative, "latency_bound": Pause | None}
    kinds |= dict.fromkeys(("spin", "stages", "cold_start", "limit", "rescale"), bool)
    return {
        "providers": checked_each("provider", given["provider"], str),
        "batch_sizes": tuple(dict.fromkeys(batch_sizes)),
        "threads": checked_each("threads", given["threads"], Threads, none=True),
        "gaps": tuple(dict.fromkeys(gaps)),
        **{name: checked(name, given[name], kind) for name, kind in kinds.items()},
        "image": optional_path("image", given["image"]),
        "scenarios": checked_each("scenario", given["scenario"], Scenario, none=True),
        "compare": optional_path("compare", given["compare"]),
        "progress": checked_progress(given["progress"]),
    }


def _measured(files: tuple[str, ...], options: dict[str, Any], given: dict[str, Any]) -> Benchmark:
    """Measure files, write the result where it is asked for, and hold it to what is required."""
    valid = checked("require_valid", given["require_valid"], bool)
    slower = checked("fail_if_slower", given["fail_if_slower"], Percentage | None)
    output, plot = optional_path("output", given["output"]), optional_path("plot", given["plot"])
    if not files:
        raise SettingsError("models: none is given")
    for name in ("rescale", "fail_if_slower"):
        if given[name] not in (None, False) and options["compare"] is None:
            raise SettingsError(f"{name}: it needs compare, the benchmark or model to be beside")
    from toolchain.benchmarking import bench as story
    from toolchain.benchmarking.bounds import require
    from toolchain.benchmarking.output import benchmark_file, keep_benchmark, require_picture

    require_picture(plot)
    json_file = benchmark_file(files, options["providers"], output, options["progress"])
    result = story.bench(files, **options)
    keep_benchmark(result, json_file, plot)
    require(result, valid=valid, not_slower_by=slower)
    return result
