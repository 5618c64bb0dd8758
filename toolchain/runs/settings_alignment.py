"""Which settings can be trained for another camera (`target`, `align`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_sources import refuse

DEFAULT = "bn"
"""What `align = "auto"` is with a target: docs/adapting.md has what it was chosen by."""
ALIGNED_SCHEDULE = "cosine"
"""What replaces the default schedule, which would go by validation images of the old camera."""
ON_FEATURES = ("mmd", "dann", "coral")
"""Alignments of the pooled features, which something before the classifier has to be able to
change."""
WITH_A_LOSS = (*ON_FEATURES, "mcc")
FEWEST_IN_A_STEP = 4
"""Of each camera: of fewer images neither a covariance nor a distance of distributions is known."""

Condition = Callable[[FinetuneSettings], bool]


def _keeps_features(settings: FinetuneSettings) -> bool:
    """Return whether an alignment of features is asked for where nothing before them is trained."""
    return settings.strategy == "head" and settings.align in ON_FEATURES


def is_for_other_camera(settings: FinetuneSettings) -> bool:
    """Return whether the model is for the camera of `target`, whose photographs are not judged.

    With align none labelled photographs of it are training images like the others.
    """
    return bool(settings.target) and settings.align != "none"


CONFLICTS: tuple[tuple[str, Condition, str, tuple[dict[str, Any], ...]], ...] = (
    (
        "target",
        lambda s: s.task == "multi-label",
        "photographs of another camera are aligned for one class each, not for multi-label",
        ({"target": ""},),
    ),
    (
        "target",
        lambda s: bool(s.budget) or s.strategy == "auto",
        "auto, a budget and --try measure the training images, not those of another camera",
        ({"strategy": "partial", "budget": ""},),
    ),
    (
        "target",
        lambda s: s.strategy in ("bn", "lora"),
        "a delta holds what was trained, and another camera's statistics change the other layers",
        ({"strategy": "partial"},),
    ),
    (
        "target",
        lambda s: bool(s.mixup or s.cutmix),
        "MixUp and CutMix give images that neither camera takes",
        ({"mixup": 0.0, "cutmix": 0.0},),
    ),
    (
        "target",
        lambda s: s.compile,
        "two cameras are computed in turn with statistics of their own, which is not compiled",
        ({"compile": False},),
    ),
    (
        "target",
        lambda s: s.start_size > 0,
        "the features of two cameras are compared at one size",
        ({"start_size": 0},),
    ),
    (
        "schedule",
        lambda s: s.schedule == "plateau" and is_for_other_camera(s),
        "plateau goes by the validation images, which are not of the other camera",
        ({"schedule": ALIGNED_SCHEDULE}, {"schedule": "constant"}),
    ),
    (
        "batch_size",
        lambda s: s.batch_size < FEWEST_IN_A_STEP,
        f"two cameras are compared by {FEWEST_IN_A_STEP} images of each or more",
        ({"batch_size": FEWEST_IN_A_STEP},),
    ),
    (
        "align",
        _keeps_features,
        "strategy head trains nothing before the classifier, so the features stay as they are",
        ({"strategy": "partial"}, {"align": "bn"}, {"align": "mcc"}),
    ),
)
"""Setting that is named, when it can't be, why, and what would do; with a target."""


def require_alignable(settings: FinetuneSettings) -> None:
    """Raise SettingsError where settings can't be trained for the camera that they ask for."""
    if not settings.target:
        if settings.align != "auto":
            reason = f"{settings.align} needs photographs of the other camera"
            able = {"strategy": "partial"} if _keeps_features(settings) else {}
            raise refuse("align", reason, {"target": "FOLDER", **able}, {"align": "auto"})
        return
    for setting, conflicts, reason, instead in CONFLICTS:
        if conflicts(settings):
            raise refuse(setting, reason, *instead)


def resolved_alignment(settings: FinetuneSettings) -> Any:
    """Return what aligns the cameras, with `auto` filled in where there is a target."""
    if settings.target and settings.align == "auto":
        return DEFAULT
    return settings.align
