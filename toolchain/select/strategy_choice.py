"""`--strategy auto`: the row of the guide table that the training images speak for."""

from __future__ import annotations

import time

from toolchain.progress import ProgressReporter
from toolchain.runs.image_size import keeps_features
from toolchain.runs.selection import Selection
from toolchain.runs.settings_ignored import FULL_SIZE_KEPT
from toolchain.runs.settings_rules import require_workable
from toolchain.select.guide import (
    LARGE_FROM,
    GuideRow,
    guide_row,
    images_per_class,
    row_settings,
    with_chosen,
)
from toolchain.select.likeness import measure_likeness
from toolchain.training.choosing import Choice, ChoiceInputs


def choose_strategy(
    inputs: ChoiceInputs, keep: frozenset[str], progress: ProgressReporter
) -> Choice:
    """Return the settings of the row of the guide table, and the figures that led to it.

    `keep` are the settings that the user gave: they stay as they are.
    """
    started = time.monotonic()
    likeness = measure_likeness(inputs, progress)
    per_class = images_per_class(inputs.dataset)
    row = guide_row(per_class, likeness.like)
    keep -= {"strategy"}
    settings, chosen = with_chosen(inputs.settings, row_settings(row, likeness.best_stage), keep)
    require_workable(settings)
    if settings.start_size and keeps_features(settings):
        small = f"the first epochs are not of {settings.start_size} pixels"
        progress.message(f"{small}: {FULL_SIZE_KEPT}")
    reason = f"{_size(per_class, row)}; {likeness.reason}"
    progress.message(f"strategy auto: {settings.strategy} ({row}): {reason}")
    return Choice(
        settings,
        Selection(
            asked={"strategy": "auto"},
            chosen=chosen,
            reason=reason,
            row=str(row),
            images_per_class=per_class,
            folds=likeness.folds,
            measured=likeness.rows,
            seconds=round(time.monotonic() - started, 3),
        ),
    )


def _size(per_class: float, row: GuideRow) -> str:
    word = "at least" if row.large else "fewer than"
    noun = "image" if per_class == 1 else "images"
    return f"{per_class:g} training {noun} a class, {word} {LARGE_FROM}"
