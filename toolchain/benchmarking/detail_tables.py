"""The tables of what was measured beside the latencies: stages, cold starts, the limit."""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.benchmarking.details import LimitResult, StageResult
from toolchain.benchmarking.figures.case_name import shown_target, shown_threads
from toolchain.benchmarking.processes.cold_start import ColdStart
from toolchain.benchmarking.tables import NO_FIGURE, figure, with_interval
from toolchain.display import Table


def stage_table(stages: Sequence[StageResult]) -> Table:
    """Return the median of each stage of an image, and of the whole way."""
    numbers = ("thr", "read", "decode", "resize", "inference", "softmax", "label", "end to end")
    rows = [
        (
            shown_target(row, stages),
            row.threads_shown,
            *(
                NO_FIGURE if value is None else figure(value)
                for value in (
                    row.read_ms,
                    row.decode_ms,
                    row.resize_ms,
                    row.inference_ms,
                    row.softmax_ms,
                    row.label_ms,
                )
            ),
            with_interval(row.end_to_end_ms, row.end_to_end_interval_ms),
        )
        for row in stages
    ]
    return Table(
        ("model", *numbers), rows, right=numbers, title="One image, from its file (p50 ms)"
    )


def cold_start_table(starts: Sequence[ColdStart]) -> Table:
    """Return the steps of a fresh process until the first label."""
    several_threads = len({(row.threads, row.spin) for row in starts}) > 1
    thr = ("thr",) if several_threads else ()
    numbers = (*thr, "python", "import", "open", "label", "total ms", "range", "MB")
    rows = [
        (
            shown_target(row, starts),
            row.cache,
            *((shown_threads(row.threads, row.spin),) if several_threads else ()),
            figure(row.interpreter_ms),
            figure(row.import_ms),
            figure(row.open_ms),
            figure(row.first_label_ms),
            figure(row.total_ms),
            "–".join(map(figure, row.total_range_ms)),
            NO_FIGURE if row.peak_memory_mb is None else f"{row.peak_memory_mb:.0f}",
        )
        for row in starts
    ]
    title = f"Cold start: medians of {starts[0].processes} fresh processes"
    return Table(("model", "cache", *numbers), rows, right=numbers, title=title)


def limit_table(limits: Sequence[LimitResult]) -> Table:
    """Return how much of what the machine can compute each case reaches."""
    numbers = ("batch", "thr", "Gop/image", "peak Gop/s", "reached")
    rows = [
        (
            shown_target(row, limits),
            str(row.batch_size),
            row.threads_shown,
            figure(row.flops_per_image / 1e9),
            figure(row.peak_per_s / 1e9),
            f"{row.share:.0%}",
            row.operations,
        )
        for row in limits
    ]
    title = "The limit: products of matrices on this machine, 2 operations each"
    return Table(("model", *numbers, "in"), rows, right=numbers, title=title)
