"""Diagnose a run from its curves: over-fitting, an unstable start, slow convergence.

The three findings and their causes are those of table S3 of the source material: training loss
falls while validation loss rises (over-fitting); large swings at the start (the learning rate is
too high); slow convergence (mean and std of the preprocessing do not fit the weights).

Training loss is measured on augmented images, with dropout and mixed labels. So it is compared with
itself and with the loss of guessing, never with validation loss.

The thresholds were set on 107 runs, sound and faulty ones, on photographs and images of steel:
ResNet-18, its head, its later layers or all of it, with 60 to 500 training images of 2 to 10
classes. They prefer a missed finding to a false one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from toolchain.runs.settings import FinetuneSettings
from toolchain.training.analysis.curves import Row, is_finite
from toolchain.training.analysis.over_fitting import over_fitting
from toolchain.training.analysis.remedies import (
    against_instability,
    against_over_fitting,
    against_slowness,
)
from toolchain.training.analysis.slow_convergence import slow_convergence
from toolchain.training.analysis.unstable_start import unstable_start


class Finding(msgspec.Struct, frozen=True):
    """One problem that the curves show."""

    name: Literal["over-fitting", "unstable start", "slow convergence"]
    evidence: str
    """The figures that show it, as in metrics.jsonl; losses in nats."""
    remedy: str
    """Options of rtl to try next, only those that the settings do not use yet."""


def diagnose(
    history: Sequence[Row], settings: FinetuneSettings, classes: int | None = None
) -> list[Finding]:
    """Return the problems that the curves of a run show; an empty list for a sound run.

    `history` are the lines of metrics.jsonl in order, with `epoch`, `train_loss`, `val_loss`,
    `train_accuracy` and `val_accuracy`; the first one may have `train_loss_start`, the training
    losses of the first steps. A loss that is not a number may be None. `settings` are those of the
    run. The loss of guessing depends on the number of `classes`; without it a network that learned
    nothing can look like one that converged.

    After an unstable start, slow convergence is reported only where something else than the
    learning rate may be the cause.
    """
    finite = [row for row in history if is_finite(row["train_loss"]) and is_finite(row["val_loss"])]
    findings = []
    if evidence := over_fitting(finite):
        findings.append(Finding("over-fitting", evidence, against_over_fitting(settings)))
    unstable = unstable_start(history, settings, classes)
    if unstable:
        findings.append(Finding("unstable start", unstable, against_instability(settings)))
    if evidence := slow_convergence(finite, settings, classes):
        remedy = against_slowness(settings, unstable=unstable is not None)
        if remedy:
            findings.append(Finding("slow convergence", evidence, remedy))
    return findings
