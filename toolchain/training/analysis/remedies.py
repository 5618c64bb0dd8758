"""Advice for each finding: options to try next that exist, work with this run's and are not used.

Each piece of advice is a change of settings. It is given only where the rules of the settings take
the changed ones, and where it has an effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from toolchain.errors import SettingsError
from toolchain.metrics.evidence import can_show_a_difference
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import resolve
from toolchain.runs.settings_ignored import ignored_settings
from toolchain.runs.settings_rules import require_workable
from toolchain.runs.settings_sources import SettingsSources

RATES = "the rates that `rtl finetune DATA --lr-find` suggests"
HIGHEST_ADVISED = {"lr_head": 0.1, "lr_backbone": 0.01}
"""No higher rate is advised: networks begin to diverge there."""
NORMAL_RATES = 1.0
"""A rate above is a typing error, from which a third of it would not be a way back."""
TOO_LOW_TO_BE_UNSTABLE = 30
"""A rate this many times below its default does not make a start unstable."""


def against_over_fitting(settings: FinetuneSettings, images: int | None = None) -> str:
    """Return advice against over-fitting; `images` is the number of validation images."""
    changes = list(_generalisation(settings, images))
    return options([*typed(settings, changes), "more training images"])


def against_instability(settings: FinetuneSettings) -> str:
    """Return advice against an unstable start."""
    return options([*typed(settings, _stability(settings)), RATES])


def against_slowness(settings: FinetuneSettings, *, unstable: bool) -> str | None:
    """Return advice against slow convergence.

    None where the start was `unstable`: nothing but the rates is known to be wrong then.
    """
    if unstable:
        return None
    attempts = [*more_layers(settings), *rates_up(settings), RATES]
    if settings.weights != "imagenet":
        attempts.insert(0, "--weights imagenet")
    return options(attempts)


def more_layers(settings: FinetuneSettings) -> list[str]:
    """Return the options that train more layers."""
    return typed(settings, _more_layers(settings))


def rates_up(settings: FinetuneSettings) -> list[str]:
    """Return the options that raise the rates."""
    return typed(settings, _higher_rates(settings))


def more_steps(settings: FinetuneSettings) -> list[str]:
    """Return the options that train for more steps."""
    changes: list[dict[str, Any]] = [{"epochs": max(25, 3 * settings.epochs)}]
    if settings.batch_size > 16:
        changes.append({"batch_size": 16})
    return typed(settings, changes)


def options(attempts: Sequence[str]) -> str:
    """Return attempts as a sentence."""
    *most, last = attempts
    return f"try {', '.join(most)} or {last}" if most else f"try {last}"


def typed(settings: FinetuneSettings, changes: Iterable[dict[str, Any]]) -> list[str]:
    """Return the changes that work with these settings and have an effect, as options."""
    sources = SettingsSources(options=True)
    return [sources.typed(change) for change in changes if _works(settings, change)]


def _works(settings: FinetuneSettings, change: dict[str, Any]) -> bool:
    changed = msgspec.structs.replace(settings, **change)
    # One change can't mend settings that break several rules, as those of an older run may.
    if _is_workable(settings) and not _is_workable(changed):
        return False
    sources = SettingsSources(given=frozenset(change))
    return changed != settings and not ignored_settings(resolve(changed), change, sources)


def _is_workable(settings: FinetuneSettings) -> bool:
    try:
        require_workable(settings)
    except SettingsError:
        return False
    return True


def _generalisation(settings: FinetuneSettings, images: int | None) -> Iterator[dict[str, Any]]:
    stronger = {
        "none": "s3",
        "turns": "s3",
        "s0": "s1",
        "s1": "randaugment",
        "s3": "randaugment",
    }.get(settings.augment)
    if stronger:
        yield {"augment": stronger}
    if settings.dropout < 0.5:
        yield {"dropout": 0.5}
    if settings.weight_decay < 0.01:
        yield {"weight_decay": max(1e-3, _rounded(10 * settings.weight_decay))}
    if not settings.mixup and not settings.cutmix:
        yield {"mixup": 0.2}
    if not settings.early_stopping and (images is None or can_show_a_difference(images)):
        yield {"early_stopping": 5}
    if settings.weights == "none":
        yield {"weights": "imagenet"}
    yield from _fewer_layers(settings)


def _fewer_layers(settings: FinetuneSettings) -> Iterator[dict[str, Any]]:
    later = {"layer1": "layer2", "layer2": "layer3", "layer3": "layer4", "third": "layer4"}
    if settings.strategy in ("full", "progressive"):
        yield {"strategy": "partial"}
    elif settings.strategy != "head" and settings.freeze_until in later:
        yield {"freeze_until": later[settings.freeze_until]}
    elif settings.strategy != "head":
        yield {"strategy": "head"}


def _more_layers(settings: FinetuneSettings) -> Iterator[dict[str, Any]]:
    earlier = {"layer4": "layer3", "layer3": "layer2", "layer2": "layer1", "layer1": None}
    if settings.strategy == "head":
        yield {"strategy": "partial"}
    elif settings.strategy == "progressive":
        yield {"strategy": "partial", "freeze_until": "layer3"}
    elif settings.strategy != "full":
        # layer1 freezes one layer.
        few = settings.freeze_until.isdecimal() and int(settings.freeze_until) <= 1
        before = None if few else earlier.get(settings.freeze_until, "layer1")
        yield {"freeze_until": before} if before else {"strategy": "full"}


def _stability(settings: FinetuneSettings) -> Iterator[dict[str, Any]]:
    for name, default in _default_rates().items():
        rate = getattr(settings, name)
        if rate > NORMAL_RATES:
            yield {name: default}
        elif rate > default / TOO_LOW_TO_BE_UNSTABLE:
            yield {name: _rounded(rate / 3)}
    if settings.warmup_epochs < 3 < settings.epochs:
        yield {"warmup_epochs": 3}
    if not 0 < settings.clip_norm <= 1:
        yield {"clip_norm": 1.0}


def _higher_rates(settings: FinetuneSettings) -> Iterator[dict[str, Any]]:
    for name, default in _default_rates().items():
        higher = max(3 * getattr(settings, name), default)
        if higher <= HIGHEST_ADVISED[name]:
            yield {name: _rounded(higher)}


def _default_rates() -> dict[str, float]:
    defaults = FinetuneSettings()
    return {"lr_head": defaults.lr_head, "lr_backbone": defaults.lr_backbone}


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")
