"""Diagnose a run: nothing learnt, mirrored classes, over-fitting, an unstable start, slowness.

Three findings are those of table S3 of the source material: training loss falls while validation
loss rises (over-fitting); large swings at the start (the learning rate is too high); slow
convergence. The other two rest on the predictions of the best epoch.

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
from toolchain.training.analysis.mirrored import mirrored_classes
from toolchain.training.analysis.nothing_learnt import likely_reasons, nothing_learnt
from toolchain.training.analysis.over_fitting import over_fitting
from toolchain.training.analysis.remedies import (
    against_instability,
    against_over_fitting,
    against_slowness,
)
from toolchain.training.analysis.slow_convergence import slow_convergence
from toolchain.training.analysis.unstable_start import unstable_start
from toolchain.training.analysis.validated import Validated

MIRROR_QUESTION = "does a mirrored picture keep its class? If not, try --augment none"


class Finding(msgspec.Struct, frozen=True):
    """One problem that the curves show."""

    name: Literal[
        "nothing was learnt",
        "mirrored classes",
        "over-fitting",
        "unstable start",
        "slow convergence",
    ]
    evidence: str
    """The figures that show it, as in metrics.jsonl; losses in nats."""
    remedy: str
    """Options of rtl to try next, only those that work with the settings and are not used yet."""


def diagnose(
    history: Sequence[Row],
    settings: FinetuneSettings,
    classes: int | None = None,
    *,
    validated: Validated | None = None,
) -> list[Finding]:
    """Return the problems that the curves of a run show; an empty list for a sound run.

    `history` are the lines of metrics.jsonl in order, with `epoch`, `train_loss`, `val_loss`,
    `train_accuracy` and `val_accuracy`; the first one may have `train_loss_start`, the training
    losses of the first steps. A loss that is not a number may be None. `settings` are those of the
    run. The loss of guessing depends on the number of `classes`; without it a network that learned
    nothing can look like one that converged. `validated` are the predictions of the best epoch;
    without them nothing is said about single classes.

    After an unstable start, slow convergence is reported only where something else than the
    learning rate may be the cause.
    """
    finite = [row for row in history if is_finite(row["train_loss"]) and is_finite(row["val_loss"])]
    unstable = unstable_start(history, settings, classes)
    findings = _of_predictions(finite, settings, unstable, validated)
    if evidence := over_fitting(finite):
        images = None if validated is None else validated.images
        findings.append(Finding("over-fitting", evidence, against_over_fitting(settings, images)))
    if unstable:
        findings.append(Finding("unstable start", unstable, against_instability(settings)))
    if evidence := slow_convergence(finite, settings, classes):
        remedy = against_slowness(settings, unstable=unstable is not None)
        if remedy:
            findings.append(Finding("slow convergence", evidence, remedy))
    return findings


def _of_predictions(
    rows: Sequence[Row],
    settings: FinetuneSettings,
    unstable: str | None,
    validated: Validated | None,
) -> list[Finding]:
    if validated is None:
        return []
    findings = []
    if evidence := nothing_learnt(validated):
        reasons = likely_reasons(validated, rows, settings, unstable)
        findings.append(Finding("nothing was learnt", evidence, reasons))
    if evidence := mirrored_classes(validated, rows, settings):
        findings.append(Finding("mirrored classes", evidence, MIRROR_QUESTION))
    return findings
