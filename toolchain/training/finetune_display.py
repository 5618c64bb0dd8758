"""What the result of `rtl finetune` shows."""

from __future__ import annotations

from toolchain.data.layouts import Dataset
from toolchain.display import Block, Facts, Picture, percent
from toolchain.metrics.evidence import accuracy_words
from toolchain.metrics.wording import accuracy_qualifier
from toolchain.runs.alignment import read_alignment
from toolchain.runs.runfolder import RunFolder
from toolchain.training.artifacts import Summary


def finetune_blocks(
    run: RunFolder, dataset: Dataset, summary: Summary, seconds: float
) -> list[Block]:
    """Return the figures of the best epoch, what was found in the curves, and the pictures."""
    auc = "" if summary.val_auc is None else f", AUC {summary.val_auc:.3f}"
    made = [run.weights, run.curves]
    if dataset.task == "single-label":
        made.append(run.confusion)
    rows = [
        ("run", str(run.path)),
        _epoch_row(run, summary),
        (
            "validation",
            f"{_accuracy(summary)}{accuracy_qualifier(dataset.task)}, "
            f"macro F1 {summary.val_macro_f1:.3f}{auc}",
        ),
        ("calibration", _calibration(summary)),
        ("time", f"{seconds:.0f} s"),
        ("made", f"{', '.join(file.name for file in made)}, …"),
        *((found.name, f"{found.evidence}; {found.remedy}") for found in summary.findings),
    ]
    return [Facts(rows), *(Picture(f, f.stem) for f in made if f.suffix == ".png")]


def _epoch_row(run: RunFolder, summary: Summary) -> tuple[str, str]:
    """Return which epoch is kept: the best one, or for another camera the last."""
    record = read_alignment(run)
    if record is None or not record.alignment.for_other_camera:
        return "best epoch", _best_epoch(summary)
    why = "the validation images are not of the camera that the model is for"
    return "kept epoch", f"{summary.best_epoch} of {summary.epochs}, the last one: {why}"


def _best_epoch(summary: Summary) -> str:
    """Return the best epoch, and how many others the validation images can't tell from it."""
    others = summary.epochs_as_good - 1
    as_good = ""
    if others > 0:
        noun = "image" if summary.val_images == 1 else "images"
        as_good = f"; {summary.val_images} {noun} can't tell it from {others} of the others"
    return f"{summary.best_epoch} of {summary.epochs}{as_good}"


def _accuracy(summary: Summary) -> str:
    correct = round(summary.val_accuracy * summary.val_images)
    return accuracy_words(correct, summary.val_images)


def _calibration(summary: Summary) -> str:
    """Return the temperature with the errors before and after it, or why there is none."""
    before, after = summary.calibration_error
    if summary.temperature_reason:
        return f"error {percent(before)}; no temperature: {summary.temperature_reason}"
    return f"temperature {summary.temperature:.2f}: error {percent(before)} → {percent(after)}"
