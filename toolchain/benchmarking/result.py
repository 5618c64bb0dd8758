"""What a benchmark finds: a row for each case, and the models that were compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from toolchain.benchmarking.comparison_result import Comparison
from toolchain.benchmarking.samples import Samples
from toolchain.benchmarking.statistics import Interval
from toolchain.display import Block, Cell, Displayed, Line, Span, Table, percent
from toolchain.machine import Machine
from toolchain.runtime.card import InputKind, Precision

FEW_IMAGES = 10
"""Images a second below which a digit after the point is shown."""
Relation = Literal["first", "same model", "other precision", "other model", "changed file"]
"""What a target is to the first one: by weights, classes and image size of their cards. A changed
file is the same model, but another tool has quantised or converted it."""


class TargetResult(msgspec.Struct, frozen=True, kw_only=True):
    """One target at one batch size. The fields are described in docs/json.md."""

    target: str
    model: str
    provider: str
    threads: int
    spin: bool
    batch_size: int
    verdict: str
    calls: int
    p50_ms: float
    p50_interval_ms: Interval
    p90_ms: float
    p90_interval_ms: Interval
    p99_ms: float
    p99_interval_ms: Interval
    images_per_s: float
    ratio_to_first: float | None
    """Median latency of the first target, at this batch size and these threads, over its own; None
    where the first target was not measured at it."""
    load_ms: float
    peak_memory_mb: float | None
    samples: Samples


class PauseResult(msgspec.Struct, frozen=True, kw_only=True):
    """One target called after pauses. The fields are described in docs/json.md."""

    target: str
    provider: str
    threads: int
    spin: bool
    batch_size: int
    pause_s: float
    keep_warm: bool
    calls: int
    p50_ms: float
    p50_interval_ms: Interval
    ratio_to_back_to_back: float
    """Its median over that of calls that follow each other."""


class ComparedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A target as a model: what it is, how accurate, and how its answers differ from the first's.

    The fields are described in docs/json.md.
    """

    target: str
    model: str
    architecture: str
    precision: Precision
    input: InputKind
    batch: int | None
    """The only batch size that it takes, which it was measured at; None for any."""
    classes: int
    image_size: int
    accuracy: float | None
    """As its card says; None where it does not."""
    accuracy_images: int | None
    accuracy_split: str | None
    relation: Relation
    compared_inputs: int
    """Inputs whose answers were compared with the first target's; 0 where they can't be."""
    max_difference: float | None
    """Largest absolute difference of a logit."""
    other_labels: int | None
    """Inputs with another label, or set of labels."""


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """An export of a run that was not measured, and why."""

    model: str
    reason: str


class Benchmark(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """All cases of one benchmark. The fields are described in docs/json.md."""

    version: int = 3
    verdict: str
    """`stable` when every case is, else `noisy`."""
    machine: Machine
    seconds_per_case: float
    busy: int = 0
    """Processes that kept a core busy each meanwhile."""
    models: list[ComparedModel]
    left_out: list[LeftOut]
    results: list[TargetResult]
    pauses: list[PauseResult] = []
    comparison: Comparison | None = None
    """Beside an older benchmark, where one was given."""

    def blocks(self) -> list[Block]:
        """Return a row for each case, the models, and how far the figures can be trusted."""
        few = any(row.p99_interval_ms[1] is None for row in self.results)
        notes = [
            f"{self.seconds_per_case:g} s a case",
            f"beside {self.busy} busy processes" if self.busy else "",
            "*: noisy, medians of rounds apart by over 10 %" if self.verdict == "noisy" else "",
            "~: too few calls to bound it" if few else "",
        ]
        fixed = [model for model in self.models if model.batch is not None]
        return [
            _case_table(self.results),
            *([_pause_table(self.pauses, self.results)] if self.pauses else []),
            *([_model_table(self.models)] if len(self.models) > 1 else []),
            *(Line(f"{m.target} takes batches of {m.batch} only", "quiet") for m in fixed),
            *(Line(f"left out {item.model}: {item.reason}", "unsure") for item in self.left_out),
            *(self.comparison.blocks() if self.comparison else []),
            Line(str(self.machine), "quiet"),
            Line("; ".join(filter(None, notes)), "quiet"),
        ]


def _case_table(results: Sequence[TargetResult]) -> Table:
    """Return the cases as a table that fits 80 columns."""
    numbers = ("batch", "thr", "p50 ms", "p90", "p99", "img/s", "×", "MB")
    several = len({row.provider for row in results}) > 1
    rows = [
        (
            row.target
            + (f" {row.provider}" if several else "")
            + (" *" if row.verdict == "noisy" else ""),
            str(row.batch_size),
            _threads(row.threads, row.spin),
            f"{row.p50_ms:.1f}",
            _bounded(row.p90_ms, row.p90_interval_ms),
            _bounded(row.p99_ms, row.p99_interval_ms),
            f"{row.images_per_s:.{1 if row.images_per_s < FEW_IMAGES else 0}f}",
            "–" if row.ratio_to_first is None else f"{row.ratio_to_first:.2f}",
            "–" if row.peak_memory_mb is None else f"{row.peak_memory_mb:.0f}",
        )
        for row in results
    ]
    return Table(("model", *numbers), rows, right=numbers)


def _threads(count: int, spin: bool) -> str:
    return f"{count} spin" if spin else str(count)


def _pause_table(pauses: Sequence[PauseResult], results: Sequence[TargetResult]) -> Table:
    """Return latencies of calls that follow each other, after pauses, and kept warm meanwhile."""
    back_to_back = {
        (row.target, row.provider, row.threads, row.spin, row.batch_size): row.p50_ms
        for row in results
    }
    kept_warm = {_case_after(row): row for row in pauses if row.keep_warm}
    numbers = ("batch", "thr", "pause", "steady ms", "after it", "×", "kept warm")
    rows = [
        (
            row.target,
            str(row.batch_size),
            _threads(row.threads, row.spin),
            f"{row.pause_s:g} s",
            f"{back_to_back[_case_after(row)[:-1]]:.1f}",
            f"{row.p50_ms:.1f}",
            f"{row.ratio_to_back_to_back:.2f}",
            f"{kept_warm[_case_after(row)].p50_ms:.1f}",
        )
        for row in pauses
        if not row.keep_warm
    ]
    return Table(("model", *numbers), rows, right=numbers, title="First call after a pause (p50)")


def _case_after(row: PauseResult) -> tuple[str, str, int, bool, int, float]:
    return row.target, row.provider, row.threads, row.spin, row.batch_size, row.pause_s


def _bounded(value_ms: float, interval: Interval) -> str:
    """Write a percentile, marked where there were too few calls to bound it from above."""
    return f"{'~' if interval[1] is None else ''}{value_ms:.1f}"


def _model_table(models: Sequence[ComparedModel]) -> Table:
    """Return what each target is, its accuracy, and how its answers differ from the first's."""
    rows = [
        (model.target, f"{model.architecture} {model.precision}", _accuracy(model), _answers(model))
        for model in models
    ]
    return Table(("model", "is", "accuracy", f"answers beside {models[0].target}"), rows)


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
