"""What a finished training gives: its run, how good it is, and what was chosen for it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from toolchain.data.audit_result import Audit
from toolchain.data.layouts import Dataset
from toolchain.display import Block, Displayed
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.selection import Selection
from toolchain.training.analysis.diagnosis import Finding
from toolchain.training.artifacts import Summary
from toolchain.training.finetune_display import finetune_blocks


class FinetuneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `rtl finetune --json` prints. Rates and errors are in 0…1."""

    version: int = 1
    run: str
    best_epoch: int
    epochs: int
    epochs_as_good: int
    val_images: int
    val_accuracy: float
    val_macro_f1: float
    val_auc: float | None
    temperature: float
    temperature_reason: str | None
    calibration_error: tuple[float, float]
    findings: list[Finding]
    seconds: float
    selection: Selection | None = None
    """What `strategy = "auto"` or `budget` measured and chose; None where nothing was."""


@dataclass(frozen=True, repr=False)
class FinetuneResult(Displayed):
    """A finished run and how good it is."""

    run: RunFolder
    dataset: Dataset
    """Without the images that could not be read."""
    audit: Audit
    summary: Summary
    """Of the epochs: metrics of the best one, calibration, findings."""
    seconds: float
    """Total time; for a resumed run, since it was resumed."""
    selection: Selection | None = None
    """What `strategy = "auto"` or `budget` measured and chose; None where nothing was."""

    @property
    def report(self) -> FinetuneReport:
        """The result as `rtl finetune --json` prints it."""
        return FinetuneReport(
            run=str(self.run.path),
            best_epoch=self.summary.best_epoch,
            epochs=self.summary.epochs,
            epochs_as_good=self.summary.epochs_as_good,
            val_images=self.summary.val_images,
            val_accuracy=self.summary.val_accuracy,
            val_macro_f1=self.summary.val_macro_f1,
            val_auc=self.summary.val_auc,
            temperature=self.summary.temperature,
            temperature_reason=self.summary.temperature_reason,
            calibration_error=self.summary.calibration_error,
            findings=self.summary.findings,
            seconds=round(self.seconds, 3),
            selection=self.selection,
        )

    def blocks(self) -> list[Block]:
        """Return the content of the result, for `repr`, notebooks and the command line."""
        chosen = self.selection.blocks() if self.selection else []
        return [*chosen, *finetune_blocks(self.run, self.dataset, self.summary, self.seconds)]
