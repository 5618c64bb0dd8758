"""The guide table of article S0 (docs/configs.md): data set size × likeness → what is trained.

| data set | like the source | trained |
|---|---|---|
| small | yes | the classifier alone |
| small | no | the later layers and the classifier |
| large | no | everything, at a small rate |
| large | yes | everything, at a moderate rate |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from toolchain.data.layouts import Dataset
from toolchain.networks.split import STAGES
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import resolve

LARGE_FROM = 200
"""Training images of a class from which a set is large. In article S0 training everything was best
on 200 to 400 images a class; with 40 to 122 a class it was best on none of the sets of
docs/results.md. Nothing between was measured."""

HEAD: dict[str, Any] = {
    "strategy": "head",
    "epochs": 20,
    "optimizer": "adam",
    "lr_head": 2e-2,
    "schedule": "constant",
    "augment": "none",
}
"""As configs/photos-head.toml."""
PARTIAL: dict[str, Any] = {
    "strategy": "partial",
    "epochs": 10,
    "optimizer": "adamw",
    "lr_head": 1e-3,
    "lr_backbone": 3e-4,
    "schedule": "constant",
    "augment": "s3",
    "views": 5,
}
"""As configs/photos-partial.toml, but for the first trained stage."""
FULL: dict[str, Any] = {
    "strategy": "full",
    "epochs": 15,
    "optimizer": "adamw",
    "lr_head": 1e-3,
    "schedule": "cosine",
    "warmup_epochs": 1,
    "augment": "s3",
}
SMALL_RATE, MODERATE_RATE = 1e-4, 3e-4
"""Of the backbone. Article S0 gives 0.0001 to 0.001 for fine-tuned convolutions; 3e-4 is the rate
of the recipes in configs/."""


class GuideRow(NamedTuple):
    """A row of the guide table."""

    large: bool
    like: bool

    def __str__(self) -> str:
        return f"{'large' if self.large else 'small'}, {'like' if self.like else 'unlike'}"


def images_per_class(dataset: Dataset) -> float:
    """Return the median of the training images of a class."""
    labels = [label for sample in dataset.train for label in sample.labels]
    counts = np.bincount(labels, minlength=len(dataset.classes))
    return float(np.median(counts))


def guide_row(per_class: float, like: bool) -> GuideRow:
    """Return the row for so many training images of a class."""
    return GuideRow(per_class >= LARGE_FROM, like)


def row_settings(row: GuideRow, best_stage: str) -> dict[str, Any]:
    """Return what is trained in a row; `best_stage` is the one whose features serve best.

    Of a small set that is unlike the source the layers after the best stage are trained, and where
    even the last stage does nothing more than random weights, the last two stages.
    """
    if row.large:
        return {**FULL, "lr_backbone": MODERATE_RATE if row.like else SMALL_RATE}
    if row.like:
        return dict(HEAD)
    place = STAGES.index(best_stage)
    first = STAGES[place + 1] if place + 1 < len(STAGES) else STAGES[-2]
    return {**PARTIAL, "freeze_until": first}


def with_chosen(
    settings: FinetuneSettings, chosen: dict[str, Any], keep: Sequence[str] | frozenset[str]
) -> tuple[FinetuneSettings, dict[str, Any]]:
    """Return (the settings with what was chosen, what was taken over of it).

    The settings named in `keep` were given by the user and stay.
    """
    taken = {name: value for name, value in chosen.items() if name not in keep}
    changed = {**taken, "budget": ""}
    if "t_max" not in keep:
        changed["t_max"] = 0  # resolved to the number of epochs
    return resolve(msgspec.structs.replace(settings, **changed)), taken
