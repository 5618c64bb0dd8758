"""What the result of `rtl finetune` shows."""

from __future__ import annotations

from toolchain.data.layouts import Dataset
from toolchain.display import Block, Facts, Picture, percent
from toolchain.metrics.wording import accuracy_qualifier
from toolchain.runs.runfolder import RunFolder
from toolchain.training.artifacts import Summary


def finetune_blocks(
    run: RunFolder, dataset: Dataset, summary: Summary, seconds: float
) -> list[Block]:
    """Return the figures of the best epoch, what was found in the curves, and the pictures."""
    auc = "" if summary.val_auc is None else f", AUC {summary.val_auc:.3f}"
    before, after = summary.calibration_error
    made = [run.weights, run.curves]
    if dataset.task == "single-label":
        made.append(run.confusion)
    rows = [
        ("run", str(run.path)),
        ("best epoch", f"{summary.best_epoch} of {summary.epochs}"),
        (
            "validation",
            f"{percent(summary.val_accuracy)} of {len(dataset.val)} images"
            f"{accuracy_qualifier(dataset.task)}, macro F1 {summary.val_macro_f1:.3f}{auc}",
        ),
        (
            "calibration",
            f"temperature {summary.temperature:.2f}: error {percent(before)} → {percent(after)}",
        ),
        ("time", f"{seconds:.0f} s"),
        ("made", f"{', '.join(file.name for file in made)}, …"),
        *((found.name, f"{found.evidence}; {found.remedy}") for found in summary.findings),
    ]
    return [Facts(rows), *(Picture(f, f.stem) for f in made if f.suffix == ".png")]
