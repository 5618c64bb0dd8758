"""The tables of a benchmark, which fit 80 columns where the names of the files are short."""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.benchmarking.figures.case_name import CaseKey, shown_target
from toolchain.benchmarking.figures.statistics import Interval
from toolchain.benchmarking.rows import ComparedModel, PauseResult, TargetResult
from toolchain.display import Cell, Span, Table, percent

NO_FIGURE = "–"


def case_table(results: Sequence[TargetResult]) -> Table:
    """Return a row for each case: the percentiles, the throughput and the memory."""
    numbers = ("batch", "thr", "p50 ms", "p90", "p99", "img/s", "×", "MB")
    rows = [
        (
            *_named(row, results),
            with_interval(row.p50_ms, row.p50_interval_ms, lacking=_lacks("p50", row)),
            with_interval(row.p90_ms, row.p90_interval_ms, lacking=_lacks("p90", row)),
            with_interval(row.p99_ms, row.p99_interval_ms, lacking=_lacks("p99", row)),
            figure(row.images_per_s),
            NO_FIGURE if row.ratio_to_first is None else f"{row.ratio_to_first:.2f}",
            NO_FIGURE if row.peak_memory_mb is None else f"{row.peak_memory_mb:.0f}",
        )
        for row in results
    ]
    return Table(("model", *numbers), rows, right=numbers)


def further_table(results: Sequence[TargetResult]) -> Table:
    """Return a row for each case: mean, minimum, throughput and ratio with their intervals."""
    energy = any(row.energy_j_per_image for row in results)
    numbers = ["batch", "thr", "mean ms", "min", "img/s", "×", *(["J/img"] if energy else [])]
    rows = []
    for row in results:
        ratio = NO_FIGURE
        if row.ratio_to_first is not None and row.ratio_to_first_interval is not None:
            ratio = with_interval(row.ratio_to_first, row.ratio_to_first_interval, places=2)
        joules = NO_FIGURE if row.energy_j_per_image is None else figure(row.energy_j_per_image)
        rows.append(
            (
                *_named(row, results),
                with_interval(row.mean_ms, row.mean_interval_ms),
                with_interval(row.min_ms, row.min_interval_ms),
                with_interval(row.images_per_s, row.images_per_s_interval),
                ratio,
                *((joules,) if energy else ()),
            )
        )
    return Table(("model", *numbers), rows, right=numbers)


def verdict_table(results: Sequence[TargetResult]) -> Table:
    """Return one row for each target: whether its figures count, why not, and what they lack."""
    targets: dict[CaseKey, list[TargetResult]] = {}
    for row in results:
        targets.setdefault(row.case._replace(batch_size=0), []).append(row)
    several_threads = len({(key.threads, key.spin) for key in targets}) > 1
    rows: list[tuple[Cell, ...]] = []
    for cases in targets.values():
        invalid = any(case.reasons for case in cases)
        spin = " spin" if cases[0].spin else ""
        threads = f" {cases[0].threads} thr{spin}" if several_threads else ""
        rows.append(
            (
                shown_target(cases[0], results) + threads,
                Span("INVALID", "bad") if invalid else Span("VALID", "good"),
                "; ".join([*_why(cases), *_lacking(cases)]),
            )
        )
    return Table(("model", "verdict", ""), rows)


def pause_table(pauses: Sequence[PauseResult], results: Sequence[TargetResult]) -> Table:
    """Return latencies of calls that follow each other, after pauses, and kept warm meanwhile."""
    steady_ms = {row.case: row.p50_ms for row in results}
    kept_warm = {(row.case, row.pause_s): row for row in pauses if row.keep_warm}
    numbers = ("batch", "thr", "pause", "steady ms", "after it", "×", "kept warm")
    rows = [
        (
            shown_target(row, pauses),
            str(row.batch_size),
            row.threads_shown,
            f"{row.pause_s:g} s",
            figure(steady_ms[row.case]),
            figure(row.p50_ms),
            f"{row.ratio_to_back_to_back:.2f}",
            figure(kept_warm[row.case, row.pause_s].p50_ms),
        )
        for row in pauses
        if not row.keep_warm
    ]
    return Table(("model", *numbers), rows, right=numbers, title="First call after a pause (p50)")


def model_table(models: Sequence[ComparedModel]) -> Table:
    """Return what each target is, its accuracy, and how its answers differ from the first's."""
    rows = [
        (model.target, f"{model.architecture} {model.precision}", _accuracy(model), _answers(model))
        for model in models
    ]
    return Table(("model", "is", "accuracy", f"answers beside {models[0].target}"), rows)


def figure(value: float) -> str:
    """Write a positive number with about three digits.

    >>> figure(0.04321), figure(3.217), figure(24.83), figure(190.2)
    ('0.043', '3.22', '24.8', '190')
    """
    return f"{value:.{_places(value)}f}"


def with_interval(
    value: float | None, interval: Interval, *, lacking: bool = False, places: int | None = None
) -> str:
    """Write a figure with half of its interval; one that lacks calls is marked and has none.

    >>> with_interval(24.83, (24.5, 25.1)), with_interval(30.04, (29.0, None), lacking=True)
    ('24.8 ±0.3', '~30.0')
    >>> with_interval(1.03, (0.03, 41.0))
    '1.03 ±>100%'
    """
    if value is None:
        return NO_FIGURE
    places = _places(value) if places is None else places
    text = f"{value:.{places}f}"
    if lacking:
        return f"~{text}"
    low, high = interval
    if low is None or high is None:
        return text
    half = max(high - value, value - low)
    return f"{text} ±{half:.{places}f}" if half < value else f"{text} ±>100%"


def _places(value: float) -> int:
    return next((n for n, least in enumerate((100, 10, 1)) if value >= least), 3)


def _named(row: TargetResult, results: Sequence[TargetResult]) -> tuple[str, str, str]:
    mark = " *" if row.verdict == "INVALID" else ""
    return shown_target(row, results) + mark, str(row.batch_size), row.threads_shown


def _lacks(percentile: str, row: TargetResult) -> bool:
    return any(text.startswith(f"{percentile} ") for text in row.lacking_calls)


def _why(cases: Sequence[TargetResult]) -> list[str]:
    """Return each reason against a target, with the batch sizes that have it."""
    kinds: dict[str, list[tuple[int, str]]] = {}
    for case in cases:
        for reason in case.reasons:
            kinds.setdefault(reason.kind, []).append((case.batch_size, reason.detail))
    return [
        f"{kind} at {_batches([size for size, _ in found])} ({found[0][1]})"
        for kind, found in kinds.items()
    ]


def _lacking(cases: Sequence[TargetResult]) -> list[str]:
    """Return each percentile that lacks calls, unless that is a reason against the case."""
    needed: dict[str, list[str]] = {}
    for case in cases:
        said = " ".join(reason.detail for reason in case.reasons)
        for text in case.lacking_calls:
            if text not in said:
                what, _, has = text.partition(", has ")
                needed.setdefault(what, []).append(f"{has} at batch {case.batch_size}")
    return [f"{what}, has {', '.join(found)}" for what, found in needed.items()]


def _batches(sizes: Sequence[int]) -> str:
    return f"batch {', '.join(map(str, sizes))}"


def _accuracy(model: ComparedModel) -> str:
    """Write an accuracy with the images that it was measured on."""
    if model.accuracy is None:
        return "not known"
    return f"{percent(model.accuracy)} of {model.accuracy_images} {model.accuracy_split}"


def _answers(model: ComparedModel) -> Cell:
    """Write how the answers differ from those of the first target."""
    if model.relation == "first":
        return "–"
    if model.max_difference is None or model.other_labels is None:
        return "not comparable"
    if model.relation == "same model":
        return Span(f"the same within {model.max_difference:.1g}", "good")
    labels = f"{model.other_labels} of {model.compared_inputs} labels differ"
    if model.relation == "other model":
        return labels
    changed = "changed by another tool: " if model.relation == "changed file" else ""
    return f"{changed}{labels}, logits by up to {model.max_difference:.2g}"
