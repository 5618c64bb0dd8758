"""Rules that settings keep together, as far as they can be judged without data or device.

Each rule raises SettingsError, which names the setting and the nearest change that works. What
depends on the images, the device or the number of processes is in `training/feasible.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

from toolchain.data.splits import Splitting
from toolchain.machine import memory_limit_bytes
from toolchain.runs.settings import SMALLEST_IMAGE, FinetuneSettings
from toolchain.runs.settings_sources import refuse
from toolchain.runs.settings_values import OTHER_VALUES
from toolchain.runtime.cores import usable_cores

VIEW_BYTES = 3 * 4
"""Bytes of a pixel of an image that is resized and augmented: RGB, in up to four copies."""


def require_workable(settings: FinetuneSettings) -> None:
    """Raise SettingsError where settings contradict each other or can't train anything.

    They may be resolved or not.
    """
    for rule in (
        _ratio_is_one,
        _weights_are_meant,
        _loss_fits_task,
        _probe_fits_task,
        _something_can_learn,
        _freezes_fewer_layers_than_there_are,
        _stages_fit_into_the_epochs,
        _warmup_ends,
        _rates_fall,
        _decay_leaves_weights,
        _mixes_different_images,
        _crop_lies_in_the_image,
        _first_epochs_are_smaller,
        _image_fits_in_memory,
        _workers_are_processes_of_this_machine,
    ):
        rule(settings)


def layers_of(arch: str) -> int:
    """Return how many layers a network has: it is named for them.

    >>> layers_of("resnext101_32x8d"), layers_of("wide_resnet50_2")
    (101, 50)
    """
    found = re.search(r"\d+", arch)
    assert found is not None
    return int(found.group())


def _ratio_is_one(settings: FinetuneSettings) -> None:
    Splitting(settings.split_ratio)  # it raises SettingsError for a ratio that is none


def _weights_are_meant(settings: FinetuneSettings) -> None:
    weights = settings.weights
    if weights in ("imagenet", "none"):
        return
    meant = OTHER_VALUES.get(("weights", weights.lower()))
    meant = meant or {"imagenet": "imagenet", "none": "none"}.get(weights.lower())
    if not weights.strip() or (meant and not Path(weights).exists()):
        reason = f"'{weights}' is neither imagenet, none nor a file"
        raise refuse("weights", reason, {"weights": meant or "imagenet"})


def _loss_fits_task(settings: FinetuneSettings) -> None:
    if settings.task == "multi-label" and settings.loss == "cross-entropy":
        reason = "cross-entropy needs one class an image; multi-label takes bce"
        raise refuse("loss", reason, {"loss": "bce"}, {"loss": "focal"})
    if settings.task == "single-label" and settings.loss == "bce":
        reason = "bce is for --task multi-label, whose labels come from a CSV"
        raise refuse("loss", reason, {"loss": "cross-entropy"})
    if settings.task == "multi-label" and settings.balanced_sampling:
        raise refuse(
            "balanced_sampling",
            "an image of several classes belongs to none of them alone; "
            "for multi-label use class_weights",
            {"balanced_sampling": False, "class_weights": True},
        )


def _probe_fits_task(settings: FinetuneSettings) -> None:
    if settings.head_start == "probe" and settings.task == "multi-label":
        reason = "a probe is fitted to images of one class each; a multi-label set has any number"
        raise refuse("head_start", reason, {"head_start": "random"})


def _something_can_learn(settings: FinetuneSettings) -> None:
    if settings.weights != "none" or settings.strategy == "full":
        return
    if settings.budget and settings.strategy == "auto":
        reason = (
            "a search measures what the features of pretrained weights are worth; none has none"
        )
        raise refuse("budget", reason, {"budget": "", "strategy": "full"}, {"weights": "imagenet"})
    if settings.strategy == "auto":
        reason = "auto measures what the features of pretrained weights are worth; none has none"
        raise refuse("strategy", reason, {"strategy": "full"}, {"weights": "imagenet"})
    if settings.strategy == "partial" and settings.freeze_until.strip("0") == "":
        return
    raise refuse(
        "strategy",
        f"{settings.strategy} freezes layers, and with weights none these stay random",
        {"strategy": "full"},
        {"weights": "imagenet"},
    )


def _freezes_fewer_layers_than_there_are(settings: FinetuneSettings) -> None:
    uses = settings.strategy in ("partial", "two-stage", "bn", "lora")
    if not uses or not settings.freeze_until.isdecimal():
        return
    count, layers = int(settings.freeze_until), layers_of(settings.arch)
    # The classifier is always trained; a second stage has to train more than it.
    most = layers - 1 if settings.strategy == "partial" else layers - 2
    if count > most:
        stage = "second stage" if settings.strategy == "two-stage" else "strategy"
        left = "" if count >= layers else f"; the {stage} would train nothing but the classifier"
        raise refuse(
            "freeze_until",
            f"{count} layers to freeze, and {settings.arch} has {layers}{left}",
            {"freeze_until": str(most)},
            {"strategy": "head"},
        )


def _stages_fit_into_the_epochs(settings: FinetuneSettings) -> None:
    epochs = settings.epochs
    if settings.strategy == "two-stage" and settings.head_epochs >= epochs:
        ways = [{"head_epochs": epochs - 1}] if epochs > 1 else []
        raise refuse(
            "head_epochs",
            f"{settings.head_epochs} of {epochs} epochs leave none for the second stage",
            *ways,
            {"epochs": settings.head_epochs + 1},
        )
    if settings.strategy == "progressive" and settings.unfreeze_every >= epochs:
        ways = [{"unfreeze_every": epochs - 1}] if epochs > 1 else []
        raise refuse(
            "unfreeze_every",
            f"{settings.unfreeze_every} of {epochs} epochs leave none in which more than the "
            "classifier is trained",
            *ways,
            {"epochs": settings.unfreeze_every + 1},
        )


def _warmup_ends(settings: FinetuneSettings) -> None:
    if not settings.warmup_epochs:
        return
    if settings.schedule == "one-cycle":
        reason = "one-cycle warms up by itself, for cycle_warmup of it"
        raise refuse("warmup_epochs", reason, {"warmup_epochs": 0})
    epochs = settings.epochs
    if settings.schedule == "cosine" and settings.t_max:
        epochs = min(settings.t_max, epochs)
    if settings.warmup_epochs >= epochs:
        raise refuse(
            "warmup_epochs",
            f"{settings.warmup_epochs} of {epochs} leave none at the full rate",
            {"warmup_epochs": epochs - 1},
        )


def _rates_fall(settings: FinetuneSettings) -> None:
    if settings.schedule != "cosine":
        return
    rates = {"lr_head": settings.lr_head}
    if settings.strategy != "head":
        rates["lr_backbone"] = settings.lr_backbone
    name = min(rates, key=lambda key: rates[key])
    if settings.eta_min > rates[name]:
        raise refuse(
            "eta_min",
            f"{settings.eta_min:g} is above {name} {rates[name]:g}, so that the rate would rise",
            {"eta_min": rates[name] / 100},
        )


def _decay_leaves_weights(settings: FinetuneSettings) -> None:
    # Adam's decay is part of the gradient, whose size it normalises.
    if settings.optimizer == "adam":
        return
    rate = settings.lr_head
    if settings.strategy != "head":
        rate = max(rate, settings.lr_backbone)
    if settings.weight_decay * rate >= 1:
        raise refuse(
            "weight_decay",
            f"{settings.weight_decay:g} at a rate of {rate:g} takes away all of a weight in one "
            "step",
            {"weight_decay": float(f"{0.01 / rate:.1g}")},
        )


def _mixes_different_images(settings: FinetuneSettings) -> None:
    name = "mixup" if settings.mixup else "cutmix"
    if not getattr(settings, name):
        return
    if settings.batch_size == 1:
        reason = "with a batch size of 1 an image is mixed with itself"
        raise refuse(name, reason, {"batch_size": 2}, {name: 0.0})
    for name in ("mixup", "cutmix"):
        alpha = getattr(settings, name)
        if 0 < alpha < 1e-3:
            reason = f"Beta({alpha:g}, {alpha:g}) leaves every image as it is"
            raise refuse(name, reason, {name: 0.2}, {name: 0.0})


def _crop_lies_in_the_image(settings: FinetuneSettings) -> None:
    # s0 and s1 squash, unless crop is asked for; s3 crops from resize_size in either mode.
    squashes = settings.preprocessing == "squash" or (
        settings.preprocessing == "auto" and settings.augment in ("s0", "s1")
    )
    crops = not squashes or settings.augment == "s3"
    if crops and settings.resize_size and settings.resize_size < settings.size:
        raise refuse(
            "resize_size",
            f"{settings.resize_size} is smaller than size {settings.size}",
            {"resize_size": settings.size},
            {"resize_size": 0},
        )


def _first_epochs_are_smaller(settings: FinetuneSettings) -> None:
    start, size = settings.start_size, settings.size
    if not start:
        return
    off = {"start_size": 0}
    if not SMALLEST_IMAGE <= start < size:
        # 160 of 224 pixels, as others who train so do.
        usual = max(SMALLEST_IMAGE, round(size * 160 / 224))
        ways = [{"start_size": usual}, off] if usual < size else [off]
        reason = f"{start} is not smaller than size {size}"
        if start < SMALLEST_IMAGE:
            reason = f"{start} is below {SMALLEST_IMAGE} pixels, the least that a network takes"
        raise refuse("start_size", reason, *ways)
    if settings.start_size_epochs >= settings.epochs:
        fewer = [{"start_size_epochs": settings.epochs - 1}] if settings.epochs > 1 else []
        reason = f"{settings.start_size_epochs} of {settings.epochs} leave none at the full size"
        raise refuse("start_size_epochs", reason, *fewer, off)
    if settings.epochs == 1:
        raise refuse("start_size", "one epoch leaves none at the full size", off, {"epochs": 2})


def _image_fits_in_memory(settings: FinetuneSettings) -> None:
    side = settings.resize_size or round(settings.size * 256 / 224)
    limit = memory_limit_bytes()
    at_once = usable_cores() if settings.workers < 0 else max(1, settings.workers)
    needed = VIEW_BYTES * side * side * at_once
    if limit is None or needed <= limit / 2:
        return
    name = "resize_size" if settings.resize_size else "size"
    most = int((limit / 2 / VIEW_BYTES / at_once) ** 0.5)
    nearest = {"resize_size": max(settings.size, most)} if settings.resize_size else {"size": most}
    raise refuse(
        name,
        f"images of {side} pixels, {at_once} at a time, need {needed / 1e9:.0f} GB; this machine "
        f"has {limit / 1e9:.0f} GB",
        nearest,
    )


def _workers_are_processes_of_this_machine(settings: FinetuneSettings) -> None:
    most = max(64, 4 * usable_cores())
    if settings.workers > most:
        raise refuse(
            "workers",
            f"{settings.workers} processes for {usable_cores()} cores would hold each other up",
            {"workers": -1},
        )
