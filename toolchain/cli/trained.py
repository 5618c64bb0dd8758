"""What `rtl finetune` shows of a run that it has trained: result, report, and what comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolchain.cli import tables, terminal
from toolchain.progress import is_rank_zero
from toolchain.runs.alignment import LABELLED_PHOTOGRAPHS
from toolchain.runs.stored_settings import stored_settings

if TYPE_CHECKING:
    from toolchain.training.finetune_result import FinetuneResult

EPOCH_LINE = "epoch 1/2  loss 1 → 1  acc 1 → 1  F1 1  AUC 1"
"""The figures of the lines that were printed while it trained."""


def show_trained(
    result: FinetuneResult,
    explain: bool,
    as_json: bool,
    quiet: bool,
    report: bool,
    data: str | None = None,
) -> None:
    """Print the result and the next command, and write the report, in rank zero only."""
    if not is_rank_zero():
        return
    if as_json:
        terminal.print_json(result.report)
    else:
        tables.show_result(result)
    tables.explain(result, "finetune", EPOCH_LINE, wanted=explain, quiet=quiet or as_json)
    if report:
        _report(result, data, as_json, quiet)
    else:
        terminal.print_next("rtl", "evaluate", result.run.path, *_images_of(result), quiet=quiet)
    terminal.print_next("rtl", "export", result.run.path, quiet=quiet)


def _images_of(result: FinetuneResult) -> list[object]:
    """Return the words that name images of the camera that a run is for, where it is another."""
    return ["--data", LABELLED_PHOTOGRAPHS] if result.run.read_card().for_other_camera else []


def _report(result: FinetuneResult, data: str | None, as_json: bool, quiet: bool) -> None:
    """Evaluate the run that was trained and write its report."""
    from toolchain.evaluation.evaluate import evaluate
    from toolchain.reporting.report import report

    progress, settings = terminal.progress_reporter(quiet), stored_settings(result.run.settings)
    evaluate(
        result.run.path,
        data=data,
        workers=settings.workers,
        device=settings.device,
        progress=progress,
    )
    written = report([result.run.path], data=data, progress=progress)
    if not as_json:
        tables.show_result(written)
