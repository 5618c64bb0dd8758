"""Settings that were given and have no effect with the others; each is said in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from toolchain.runs.image_size import keeps_features
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_alignment import WITH_A_LOSS, is_for_other_camera
from toolchain.runs.settings_sources import SettingsSources

FULL_SIZE_KEPT = "the kept features are those of images of the full size"
Condition = Callable[[FinetuneSettings], bool]


def _strategy(*names: str) -> Condition:
    return lambda settings: settings.strategy in names


def _schedule(name: str) -> Condition:
    return lambda settings: settings.schedule == name


def _uses_resize(settings: FinetuneSettings) -> bool:
    # These presets resize to it in training, whatever the clean view does.
    augments = settings.augment in ("s3", "randaugment", "trivialaugment")
    return settings.preprocessing == "crop" or augments


USED_WHEN: dict[str, tuple[Condition, str]] = {
    "freeze_until": (
        _strategy("partial", "two-stage", "bn", "lora"),
        "strategy partial, two-stage, bn or lora uses it",
    ),
    "rank": (_strategy("lora"), "strategy lora uses it"),
    "head_epochs": (_strategy("two-stage"), "strategy two-stage uses it"),
    "unfreeze_layers": (_strategy("progressive"), "strategy progressive uses it"),
    "unfreeze_every": (_strategy("progressive"), "strategy progressive uses it"),
    "lr_backbone": (lambda s: s.strategy != "head", "strategy head trains no backbone"),
    "layer_decay": (lambda s: s.strategy != "head", "strategy head trains no backbone"),
    "momentum": (lambda s: s.optimizer == "sgd", "optimizer sgd uses it"),
    "plateau_factor": (_schedule("plateau"), "schedule plateau uses it"),
    "plateau_patience": (_schedule("plateau"), "schedule plateau uses it"),
    "t_max": (_schedule("cosine"), "schedule cosine uses it"),
    "eta_min": (_schedule("cosine"), "schedule cosine uses it"),
    "step_epochs": (_schedule("step"), "schedule step uses it"),
    "step_factor": (_schedule("step"), "schedule step uses it"),
    "cycle_warmup": (_schedule("one-cycle"), "schedule one-cycle uses it"),
    "focal_gamma": (lambda s: s.loss == "focal", "loss focal uses it"),
    "resize_size": (_uses_resize, "nothing is cropped from a larger image"),
    "early_stopping": (
        lambda s: not is_for_other_camera(s),
        "of a model for another camera the last epoch is kept",
    ),
    "align_weight": (
        lambda s: s.align in WITH_A_LOSS,
        "align mmd, dann, coral or mcc uses it",
    ),
    "probe_l2": (lambda s: s.head_start == "probe", "head_start probe uses it"),
    "probe_scaling": (lambda s: s.head_start == "probe", "head_start probe uses it"),
    "views": (
        lambda s: keeps_features(s) and s.augment != "none",
        "no features of augmented images are kept",
    ),
    "cache_gb": (keeps_features, "no features are kept"),
    "start_size": (
        lambda s: not keeps_features(s) or (s.strategy == "auto" and not s.budget),
        FULL_SIZE_KEPT,
    ),
    "start_size_epochs": (lambda s: s.start_size > 0, "start_size uses it"),
}
"""When a setting has an effect, and why not otherwise."""
NEVER_REACHED: dict[str, tuple[Condition, str]] = {
    "plateau_patience": (
        lambda s: s.schedule == "plateau" and s.plateau_patience >= s.epochs - 1,
        "the run ends before the rates fall",
    ),
    "early_stopping": (lambda s: s.early_stopping >= s.epochs, "the run ends before it can stop"),
    "step_epochs": (
        lambda s: s.schedule == "step" and s.step_epochs >= s.epochs,
        "the run ends before the rates fall",
    ),
}
"""When a number of epochs is not reached before the end, and what does not happen then."""


def ignored_settings(
    settings: FinetuneSettings, values: Mapping[str, Any], sources: SettingsSources
) -> list[str]:
    """Return a line for each setting that was given and has no effect; `settings` are resolved.

    A key of a file that has its default, or what it is resolved to, is not reported: the settings
    of a run folder hold every key.
    """
    plain = msgspec.structs.asdict(FinetuneSettings())
    plain["t_max"], plain["resize_size"] = settings.epochs, round(settings.size * 256 / 224)
    lines = []
    for key, value in values.items():
        as_default = value == plain[key] or (not value and key in ("t_max", "resize_size"))
        if as_default and key not in sources.given:
            continue
        reason = _reason(settings, key)
        if reason is not None:
            lines.append(f"{sources.name(key)} {value} is ignored: {reason}")
    return lines


def _reason(settings: FinetuneSettings, key: str) -> str | None:
    if key in USED_WHEN and not USED_WHEN[key][0](settings):
        return USED_WHEN[key][1]
    if key in NEVER_REACHED and getattr(settings, key) and NEVER_REACHED[key][0](settings):
        return NEVER_REACHED[key][1]
    return None
