"""Whether settings can train on this data, this device and so many processes.

Asked before the first step. What needs none of these is judged by `runs/settings_rules.py`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import torch

from toolchain.data.layouts import Dataset
from toolchain.machine import memory_limit_bytes
from toolchain.metrics.evidence import can_show_a_difference
from toolchain.networks.resnet import (
    IMAGENET_NORMALISATION,
    Classifier,
    build_network,
    on_meta_device,
)
from toolchain.progress import ProgressReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_sources import refuse
from toolchain.training.analysis.mirrored import mirror_pairs
from toolchain.training.inputs.order import Order
from toolchain.training.step_memory import bytes_of_step
from toolchain.training.strategies import enter_stage, plan_stages, set_training_mode

SAFE_SHARE = 0.9
"""Share of the memory that the activations of a step may take; the rest is for everything else."""


@dataclass(frozen=True)
class BatchSizes:
    """How many images of a batch a process computes at once, over an epoch."""

    largest: int
    smallest: int


def require_device_fits(settings: FinetuneSettings, device: torch.device) -> None:
    """Raise SettingsError where the device can't do what the settings ask for."""
    if settings.precision == "fp16" and device.type != "cuda":
        raise refuse(
            "precision",
            f"fp16 needs a GPU, and this runs on {device}",
            {"precision": "bf16"},
            {"precision": "auto"},
        )
    if settings.compile and device.type == "cpu" and not _has_compiler():
        reason = "torch.compile needs a C++ compiler, and neither g++ nor clang++ is found"
        raise refuse("compile", reason, {"compile": False})


def require_feasible(
    settings: FinetuneSettings,
    dataset: Dataset,
    device: torch.device,
    processes: int,
    progress: ProgressReporter,
) -> None:
    """Raise SettingsError where a step would fail on this data; report what it makes pointless.

    The network is built without memory, and only where the sizes make a failure possible.
    """
    sizes = batch_sizes(settings, dataset, settings.batch_size, processes)
    _require_measurable(settings, dataset)
    _require_mixable(settings, dataset, processes)
    if sizes.smallest == 1:
        _require_normalisable(settings, dataset, processes)
    _require_memory(settings, len(dataset.classes), sizes, device)
    for line in _pointless(settings, dataset, processes):
        progress.message(line)


def feasible_when_listed(
    settings: FinetuneSettings, device: torch.device, processes: int
) -> Callable[[Dataset], None]:
    """Return what raises SettingsError for a data set of which only the images' names are known.

    Some may turn out to be unreadable, so the last batch is left to `require_feasible`.
    """

    def require(found: Dataset) -> None:
        if settings.batch_size // processes < 2:
            _require_mixable(settings, found, processes)
            _require_normalisable(settings, found, processes)
        sizes = batch_sizes(settings, found, settings.batch_size, processes)
        _require_memory(settings, len(found.classes), sizes, device)

    return require


def batch_sizes(
    settings: FinetuneSettings, dataset: Dataset, batch_size: int, processes: int
) -> BatchSizes:
    """Return the sizes of the parts that a process computes of the batches of an epoch."""
    order = Order(dataset.train, batch_size, seed=settings.seed)
    batches = {min(batch_size, order.used), order.used % batch_size or batch_size}
    # A process without an image computes one that is not counted.
    parts = [max(1, batch // processes) for batch in batches if batch <= order.used]
    return BatchSizes(max(-(-batch // processes) for batch in batches), min(parts))


def _require_measurable(settings: FinetuneSettings, dataset: Dataset) -> None:
    if settings.metric != "auc":
        return
    labels = [sample.labels for sample in dataset.val]
    counts = [sum(k in label for label in labels) for k in range(len(dataset.classes))]
    if not any(0 < count < len(labels) for count in counts):
        raise refuse(
            "metric",
            f"auc compares images with a class and without it; the {len(labels)} validation images "
            "are all alike",
            {"metric": "loss"},
        )


def _require_mixable(settings: FinetuneSettings, dataset: Dataset, processes: int) -> None:
    name = "mixup" if settings.mixup else "cutmix"
    images = min(settings.batch_size, len(dataset.train)) // processes
    if getattr(settings, name) and images < 2:
        raise refuse(
            name,
            f"a process has one of the {min(settings.batch_size, len(dataset.train))} images of a "
            "step, which would be mixed with itself",
            {"batch_size": 2 * processes},
            {name: 0.0},
        )


def _require_normalisable(settings: FinetuneSettings, dataset: Dataset, processes: int) -> None:
    """Raise SettingsError where a BatchNorm in training would see one value of each channel."""
    if _normalises_one_image(settings, len(dataset.classes)):
        return
    images = len(dataset.train)
    ways: list[dict[str, object]] = []
    near = range(settings.batch_size + 1, min(settings.batch_size + 1000, images + processes) + 1)
    for size in near:
        if batch_sizes(settings, dataset, size, processes).smallest > 1:
            ways.append({"batch_size": size})
            break
    several = f" by {processes} processes" if processes > 1 else ""
    raise refuse(
        "batch_size",
        f"with {settings.batch_size} of {images} training images a step{several} some batch is of "
        f"one image, and at size {settings.size} that is one value a channel: BatchNorm "
        "can't train on it",
        *ways,
        {"size": 64},
    )


def _normalises_one_image(settings: FinetuneSettings, classes: int) -> bool:
    """Return whether every stage can compute a training step on a single image."""
    with on_meta_device():
        classifier = Classifier(
            build_network(
                settings.arch, classes, dropout=settings.dropout, head_stages=settings.head_stages
            ),
            IMAGENET_NORMALISATION,
        )
        pixels = torch.zeros((1, settings.size, settings.size, 3), dtype=torch.uint8)
        # The last stage trains all that any stage trains.
        enter_stage(classifier.network, plan_stages(classifier.network, settings)[-1])
        set_training_mode(classifier)
        try:
            classifier(pixels)
        except ValueError:
            return False
    return True


def _require_memory(
    settings: FinetuneSettings, classes: int, sizes: BatchSizes, device: torch.device
) -> None:
    limit = _memory_of(device)
    if limit is None:
        return
    # A step for another camera holds as many of its images too.
    images = 2 * sizes.largest if settings.target else sizes.largest
    needed = bytes_of_step(settings, classes, images, enough=SAFE_SHARE * limit)
    if needed <= SAFE_SHARE * limit:
        return
    share = SAFE_SHARE * limit / needed
    fewer = int(sizes.largest * share * 0.9)
    reason = (
        f"a step of {sizes.largest} images of {settings.size} pixels needs {needed / 1e9:.0f} GB "
        f"for {settings.arch} alone; {device} has {limit / 1e9:.0f} GB"
    )
    if fewer >= 2:
        raise refuse("batch_size", reason, {"batch_size": fewer})
    size = max(32, int(settings.size * share**0.5 * 0.9))
    raise refuse("size", reason, {"size": size})


def _memory_of(device: torch.device) -> float | None:
    if device.type == "cuda":
        return float(torch.cuda.get_device_properties(device).total_memory)
    return memory_limit_bytes()


def _pointless(settings: FinetuneSettings, dataset: Dataset, processes: int) -> list[str]:
    """Return a line for each setting that does something else on this data than it says."""
    images, lines = len(dataset.train), []
    if settings.batch_size > images:
        lines.append(f"a step has all {images} training images, not {settings.batch_size}")
    batches = -(-images // settings.batch_size)
    if settings.accumulate > max(1, batches):
        counted = "1 batch" if batches == 1 else f"{batches} batches"
        lines.append(
            f"an epoch has {counted}, so its one step adds up these and not {settings.accumulate}"
        )
    if min(settings.batch_size, images) < processes:
        lines.append(
            f"{settings.batch_size} images a step leave some of {processes} processes idle"
        )
    lines += [
        f"--augment {settings.augment} {pair.change} the training images: if that makes "
        f"'{dataset.classes[pair.first]}' of '{dataset.classes[pair.second]}', try --augment none"
        for pair in mirror_pairs(dataset.classes, settings.augment)[:1]
    ]
    watches = settings.schedule == "plateau" or settings.early_stopping
    if watches and not can_show_a_difference(len(dataset.val)):
        what = " and ".join(
            word
            for word, used in (
                ("the rates stay as they are", settings.schedule == "plateau"),
                ("no epoch ends the run early", settings.early_stopping),
            )
            if used
        )
        counted = "1 validation image" if len(dataset.val) == 1 else f"{len(dataset.val)} images"
        lines.append(f"{counted} can't tell a better epoch from a worse one: {what}")
    return lines


def _has_compiler() -> bool:
    named = os.environ.get("CXX")
    return any(shutil.which(name) for name in (named, "g++", "clang++", "c++", "cl") if name)
