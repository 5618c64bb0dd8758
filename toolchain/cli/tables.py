"""Results as tables: the only place that decides how a result looks to a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table
from rich.text import Text

from toolchain.cli.plain import printable
from toolchain.cli.terminal import console
from toolchain.errors import ImageError
from toolchain.runtime.card import Acceptance, Task

if TYPE_CHECKING:
    from toolchain.benchmarking.bench import Benchmark, TargetResult
    from toolchain.benchmarking.statistics import Interval
    from toolchain.cache import EngineEntry, FeaturesEntry
    from toolchain.data.audit import Audit
    from toolchain.doctor import Check
    from toolchain.evaluation.evaluate import Evaluation
    from toolchain.exporters.export import ExportedModel
    from toolchain.runtime.prediction import Prediction
    from toolchain.training.finetune import FinetuneResult
    from toolchain.training.lr_find import LrFindResult
    from toolchain.verification.result import Verification

PASSED, FAILED = Text("passed", "green"), Text("FAILED", "bold red")
STATES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def new_table(*columns: str, title: str | None = None, numbers: Sequence[str] = ()) -> Table:
    """Return an empty table; `numbers` are the columns that are aligned to the right."""
    terminal = console().is_terminal
    made = Table(
        box=box.SIMPLE_HEAD if terminal else None,
        title=title,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        # Two spaces between columns, so that a benchmark fits 80; the box brings one of them.
        padding=(0, 1 if terminal else 2, 0, 0),
    )
    for name in columns:
        right = name in numbers
        made.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    return made


def facts(rows: Iterable[tuple[str, str | Text]], *, title: str | None = None) -> Table:
    """Return a table of names and values."""
    made = Table(box=None, show_header=False, title=title, title_justify="left", pad_edge=False)
    made.title_style = "bold"
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, printable(value) if isinstance(value, str) else value)
    return made


def show(*parts: Table | Text) -> None:
    """Print parts of a result to standard output."""
    out = console()
    for part in parts:
        if out.is_terminal:
            out.print(part)
            continue
        with out.capture() as captured:
            out.print(part)
        # Tables fill their cells with spaces, which are noise in a file.
        lines = (line.rstrip() for line in captured.get().splitlines())
        click.echo("\n".join(line for line in lines if line))


def percent(rate: float) -> str:
    """Write a rate in 0…1 as a percentage.

    >>> percent(0.925)
    '92.5 %'
    """
    return f"{rate:.1%}".replace("%", " %")


def show_finetuned(result: FinetuneResult) -> None:
    """Show what training left."""
    run, summary = result.run, result.summary
    auc = "" if summary.val_auc is None else f", AUC {summary.val_auc:.3f}"
    before, after = summary.calibration_error
    made = [run.weights.name, run.curves.name]
    if result.dataset.task == "single-label":
        made.append(run.confusion.name)
    show(
        facts(
            [
                ("run", str(run.path)),
                ("best epoch", f"{summary.best_epoch} of {summary.epochs}"),
                (
                    "validation",
                    f"{percent(summary.val_accuracy)} of {len(result.dataset.val)} images"
                    f"{whole_words(result.dataset.task)}, "
                    f"macro F1 {summary.val_macro_f1:.3f}{auc}",
                ),
                (
                    "calibration",
                    f"temperature {summary.temperature:.2f}: "
                    f"error {percent(before)} → {percent(after)}",
                ),
                ("time", f"{result.seconds:.0f} s"),
                ("made", f"{', '.join(made)}, …"),
                *(
                    (finding.name, f"{finding.evidence}; {finding.remedy}")
                    for finding in summary.findings
                ),
            ]
        )
    )


def show_lr_find(result: LrFindResult) -> None:
    """Show what a sweep of learning rates suggests."""
    if result.lr_head is None:
        suggestion = "none: the loss falls at no rate; look at the picture"
    else:
        suggestion = f"--lr-head {result.lr_head:g} --lr-backbone {result.lr_backbone:g}"
    show(
        facts(
            [
                ("suggestion", suggestion),
                ("tried", f"{result.rates[0]:.1g} to {result.rates[-1]:.1g}"),
                ("picture", result.picture),
            ]
        )
    )


def show_cache(folder: str, entries: Sequence[FeaturesEntry]) -> None:
    """Show the kept features, the longest unused first."""
    if not entries:
        show(Text(f"{folder}: nothing is kept"))
        return
    table = new_table("data", "network", "before", "view", "rows", "MB", numbers=("rows", "MB"))
    for entry in entries:
        size = f"{entry.bytes / 1e6:.1f}"
        table.add_row(entry.data, entry.arch, entry.boundary, entry.view, str(entry.rows), size)
    total = sum(entry.bytes for entry in entries) / 1e6
    show(Text(f"{folder}: {total:.1f} MB"), table)


def show_engines(folder: str, engines: Sequence[EngineEntry]) -> None:
    """Show the models in the engine cache, the longest unused first."""
    if not engines:
        show(Text(f"{folder}: nothing is kept"))
        return
    table = new_table("model", "MB", numbers=("MB",))
    for engine in engines:
        name = Text(printable(engine.model) or "(damaged)")
        table.add_row(name, f"{engine.bytes / 1e6:.1f}")
    total = sum(engine.bytes for engine in engines) / 1e6
    show(Text(f"{folder}: {total:.1f} MB"), table)


def show_audit(audit: Audit) -> None:
    """Show what is in a data set and what is wrong with it."""
    counts = new_table("class", "train", "val", "test", numbers=("train", "val", "test"))
    for name, row in audit.per_class.items():
        counts.add_row(name, *(str(row[split]) for split in ("train", "val", "test")))
    show(Text(f"{audit.data}: {audit.images} files, split by {audit.split_by}"), counts)
    found = new_table("file", "unreadable because")
    for item in audit.unreadable:
        found.add_row(item.file, item.reason)
    if audit.unreadable:
        show(found)
    for name, groups in (
        ("the same bytes in more than one split", audit.leaks),
        ("the same bytes with different classes", audit.label_conflicts),
    ):
        if groups:
            table = new_table(name)
            for group in groups:
                table.add_row("\n".join(group))
            show(table)
    show(
        facts(
            [
                ("unreadable", str(len(audit.unreadable))),
                ("duplicates", f"{len(audit.duplicates)} groups with the same bytes"),
                ("leaks", f"{len(audit.leaks)} groups in more than one split"),
                ("label conflicts", f"{len(audit.label_conflicts)} groups with different classes"),
                ("rare classes", ", ".join(audit.rare_classes) or "none"),
                ("small", f"{audit.small} images under 64 pixels"),
                ("EXIF-rotated", f"{audit.rotated_by_exif} images, which rtl turns upright"),
                ("fingerprint", audit.fingerprint[:16]),
            ]
        )
    )


def show_evaluation(result: Evaluation) -> None:
    """Show how good a run is."""
    numbers = ("images", "precision", "recall", "F1")
    table = new_table("class", *numbers, numbers=numbers)
    for row in result.per_class:
        rates = (percent(rate) for rate in (row.precision, row.recall, row.f1))
        table.add_row(row.label, str(row.images), *rates)
    low, high = result.accuracy_interval
    whole = whole_words(result.task)
    rows: list[tuple[str, str | Text]] = [
        ("split", f"{result.split}, {result.images} images"),
        (
            "accuracy",
            f"{percent(result.accuracy)}{whole} (95 % interval {percent(low)} to {percent(high)})",
        ),
        ("macro F1", percent(result.macro_f1)),
    ]
    if result.auc is not None:
        rows.append(("AUC", f"{result.auc:.3f}"))
    if result.calibration_error is not None:
        rows.append(("calibration", f"probabilities off by {percent(result.calibration_error)}"))
    show(table, facts(rows))


def whole_words(task: Task) -> str:
    """Say what an accuracy counts, where that is not the one class of an image."""
    return " right in all classes" if task == "multi-label" else ""


def show_exported(exported: Sequence[ExportedModel]) -> None:
    """Show the model files and the proof of each."""
    for item in exported:
        show_verification(item.verification)
    table = new_table("file", "format", "precision", "input", "size", numbers=("size",))
    for item in exported:
        kind = item.variant
        table.add_row(
            str(item.path), kind.format, kind.precision, kind.input, megabytes(item.bytes)
        )
    show(table)
    accepted = [
        (item.path.name, acceptance_words(item.card.acceptance))
        for item in exported
        if item.card.acceptance is not None
    ]
    if accepted:
        show(facts(accepted))


def acceptance_words(found: Acceptance) -> str:
    """Say what a lower precision cost and gained."""
    speed = (
        "not timed, as no GPU is at hand"
        if found.speed_ratio is None
        else f"{found.speed_ratio:.2f} × as fast as fp32 on 1 thread ({found.speed_provider})"
    )
    kept = f"; in float: {', '.join(found.kept_float)}" if found.kept_float else ""
    return (
        f"accuracy {percent(found.accuracy_before)} → {percent(found.accuracy_after)} "
        f"(p = {found.p_value:.2g}), {found.flips} of {found.images} labels differ, {speed}{kept}"
    )


def show_verification(result: Verification) -> None:
    """Show each level of a verification, and where it fell short."""
    table = new_table(
        "level", "against", "verdict", "figures", title=f"{result.model} on {result.provider}"
    )
    for level in result.levels:
        verdict = PASSED if level.passed else FAILED
        table.add_row(level.level, f"the {level.against}", verdict, level.summary)
        if level.where is not None and not level.passed:
            table.add_row("", "", "", Text(f"begins at {level.where}", "bold red"))
    show(table)


def show_benchmark(result: Benchmark) -> None:
    """Show the cases of a benchmark."""
    few = any(r.p99_interval_ms[1] is None for r in result.results)
    noisy = result.verdict == "noisy"
    several = len({(r.target, r.provider, r.threads) for r in result.results}) > 1
    same = f"the same answers within {result.max_difference:.1g}; " if several else ""
    show(
        benchmark_table(result),
        Text(f"{result.machine}", "dim"),
        Text(
            f"{same}{result.seconds_per_case:g} s a case"
            + ("; *: noisy, medians of rounds apart by over 10 %" if noisy else "")
            + ("; ~: too few calls to bound it" if few else ""),
            "dim",
        ),
    )


def benchmark_table(result: Benchmark) -> Table:
    """Return the cases as a table that fits 80 columns."""
    numbers = ("batch", "thr", "p50 ms", "p90", "p99", "img/s", "×", "MB")
    table = new_table("model", *numbers, numbers=numbers)
    providers = {row.provider for row in result.results}
    for row in result.results:
        name = row.target + (f" {row.provider}" if len(providers) > 1 else "")
        table.add_row(
            name + (" *" if row.verdict == "noisy" else ""),
            str(row.batch_size),
            str(row.threads),
            f"{row.p50_ms:.1f}",
            bounded(row.p90_ms, row.p90_interval_ms),
            bounded(row.p99_ms, row.p99_interval_ms),
            f"{row.images_per_s:.0f}",
            f"{row.ratio_to_first:.2f}",
            _memory(row),
        )
    return table


def bounded(value_ms: float, interval: Interval) -> str:
    """Write a percentile, marked where there were too few calls to bound it from above."""
    return f"{'~' if interval[1] is None else ''}{value_ms:.1f}"


def _memory(row: TargetResult) -> str:
    return "–" if row.peak_memory_mb is None else f"{row.peak_memory_mb:.0f}"


def megabytes(count: int) -> str:
    """Write a number of bytes in MB."""
    return f"{count / 1e6:.1f} MB"


def predictions_table(
    rows: Iterable[tuple[str, Prediction | ImageError]], top: int, task: Task = "single-label"
) -> Table:
    """Return predictions as a table, errors in place of labels."""
    columns = ("label",) if task == "single-label" else ("labels", "most probable")
    table = new_table("file", *columns, "probability", numbers=("probability",))
    for name, result in rows:
        shown = printable(name.encode("utf-8", "replace").decode())
        if isinstance(result, ImageError):
            reason = printable(str(result).removeprefix(f"{name}: "))
            table.add_row(shown, Text(reason, "red"), *[""] * len(columns))
            continue
        best = result.top(top)
        labels = () if task == "single-label" else ("\n".join(result.labels) or "–",)
        names = [label for label, _ in best]
        if result.rejected:
            names[0] += " (rejected)"
        table.add_row(
            shown,
            *labels,
            "\n".join(names),
            "\n".join(percent(probability) for _, probability in best),
        )
    return table


def show_checks(checks: Sequence[Check]) -> None:
    """Show what the doctor found."""
    table = new_table("", "what", "found")
    for check in checks:
        found = check.found + (f"\n→ {check.remedy}" if check.remedy else "")
        table.add_row(Text(check.state, STATES[check.state]), check.what, found)
    show(table)
