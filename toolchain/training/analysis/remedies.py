"""Advice for each finding: options to try next that the run does not use yet."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from toolchain.runs.settings import FinetuneSettings


def against_over_fitting(settings: FinetuneSettings) -> str:
    """Return advice against over-fitting."""
    return _sentence(_generalisation_options(settings))


def against_instability(settings: FinetuneSettings) -> str:
    """Return advice against an unstable start."""
    return _sentence(_stability_options(settings))


def against_slowness(settings: FinetuneSettings, *, unstable: bool) -> str | None:
    """Return advice against slow convergence.

    None where the start was `unstable` and nothing but the learning rate is known to be wrong.
    """
    check = (
        "check mean and std of the preprocessing: weights that are not torchvision's ImageNet ones "
        "may want others"
    )
    from_file = settings.weights not in ("imagenet", "none")
    if unstable:
        return check if from_file else None
    attempts = _sentence(_speed_options(settings))
    return f"{check}; or {attempts}" if from_file else attempts


def _generalisation_options(settings: FinetuneSettings) -> Iterable[str]:
    stronger = {
        "none": "s3",
        "turns": "s3",
        "s0": "s1",
        "s1": "randaugment",
        "s3": "randaugment",
    }.get(settings.augment)
    if stronger:
        yield f"--augment {stronger}"
    if settings.dropout < 0.5:
        yield "--dropout 0.5"
    if settings.weight_decay < 0.01:
        yield f"--weight-decay {max(1e-3, 10 * settings.weight_decay):.2g}"
    if not settings.mixup and not settings.cutmix:
        yield "--mixup 0.2"
    if not settings.early_stopping:
        yield "--early-stopping 5"
    yield from _fewer_layers(settings)
    yield "more training images"


def _fewer_layers(settings: FinetuneSettings) -> Iterable[str]:
    later = {"layer1": "layer2", "layer2": "layer3", "layer3": "layer4", "third": "layer4"}
    if settings.strategy in ("full", "progressive"):
        yield "--strategy partial"
    elif settings.strategy != "head" and settings.freeze_until in later:
        yield f"--freeze-until {later[settings.freeze_until]}"
    elif settings.strategy != "head":
        yield "--strategy head"


def _stability_options(settings: FinetuneSettings) -> Iterable[str]:
    yield f"--lr-head {settings.lr_head / 3:.2g}"
    if settings.strategy != "head":
        yield f"--lr-backbone {settings.lr_backbone / 3:.2g}"
    if settings.warmup_epochs < 3 < settings.epochs:
        yield "--warmup-epochs 3"
    if not 0 < settings.clip_norm <= 1:
        yield "--clip-norm 1.0"
    yield "the rates that `rtl finetune DATA --lr-find` suggests"


def _speed_options(settings: FinetuneSettings) -> Iterable[str]:
    if settings.weights == "none":
        yield "--weights imagenet"
    yield from _more_layers(settings)
    yield f"--lr-head {_higher(settings.lr_head, 'lr_head')}"
    if settings.strategy != "head":
        yield f"--lr-backbone {_higher(settings.lr_backbone, 'lr_backbone')}"
    yield "the rates that `rtl finetune DATA --lr-find` suggests"


def _more_layers(settings: FinetuneSettings) -> Iterable[str]:
    earlier = {"layer4": "layer3", "layer3": "layer2", "layer2": "layer1"}
    if settings.strategy == "head":
        yield "--strategy partial"
    elif settings.strategy == "progressive":
        yield "--strategy partial --freeze-until layer3"
    elif settings.strategy != "full":
        yield f"--freeze-until {earlier.get(settings.freeze_until, 'layer1')}"


def _higher(rate: float, name: str) -> str:
    """Return three times a learning rate, or its default where that is higher."""
    default = msgspec.structs.asdict(FinetuneSettings())[name]
    return f"{max(3 * rate, default):.2g}"


def _sentence(options: Iterable[str]) -> str:
    *most, last = options
    return f"try {', '.join(most)} or {last}" if most else f"try {last}"
