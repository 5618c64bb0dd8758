"""The other camera before the first step: its labelled images, and its norms' statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from toolchain.data.layouts import Dataset
from toolchain.errors import TrainingError
from toolchain.progress import ProgressReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.alignment.aligner import OtherCamera
from toolchain.training.alignment.images import TargetImages
from toolchain.training.alignment.norms import estimate_statistics, statistics_of
from toolchain.training.alignment.order import repeats_of
from toolchain.training.distributed import is_single_process
from toolchain.training.inputs.samples import clean_source
from toolchain.training.setup import Setup

IMAGES_AT_ONCE = 32


def require_one_process(settings: FinetuneSettings) -> None:
    """Raise TrainingError where several processes would train for another camera."""
    if settings.target and not is_single_process():
        raise TrainingError(
            "--target trains in one process: both cameras are compared by whole batches",
            hint="leave out --processes, or start it without torchrun",
        )


def with_labelled(
    dataset: Dataset, target: TargetImages | None, settings: FinetuneSettings
) -> Dataset:
    """Return the data set to train on: with align none, the target's labelled images are in it.

    They are repeated until they are LABELLED_SHARE of the training images. Every other alignment
    computes them with the other photographs.
    """
    if target is None or settings.align != "none":
        return dataset
    labelled = target.labelled
    times = repeats_of(len(dataset.train), len(labelled))
    return replace(dataset, train=(*dataset.train, *labelled * times))


def begin_alignment(
    setup: Setup, target: TargetImages | None, progress: ProgressReporter, *, estimate: bool = True
) -> Setup:
    """Return the setup with the other camera; its statistics replace the classifier's, in place.

    Without `estimate` the classifier has them already.
    """
    if target is None or setup.settings.align == "none":
        return setup
    camera = OtherCamera(target, statistics_of(setup.classifier))
    if estimate:
        estimate_statistics(setup.classifier, _pixels(setup, target, progress))
    progress.message(
        "the model is for the other camera: the validation images are not of it, so their figures "
        "do not show what it reaches there, and the last epoch is kept"
    )
    return replace(setup, camera=camera)


def _pixels(setup: Setup, target: TargetImages, progress: ProgressReporter) -> Iterator[Tensor]:
    """Yield the photographs in batches of clean pixels, on the device."""
    source = clean_source(
        target.samples,
        len(setup.dataset.classes),
        setup.preprocessing,
        batch_size=IMAGES_AT_ONCE,
        workers=setup.settings.workers,
        report=progress.message,
    )
    label = "statistics of the other camera, batches"
    for batch in progress.track(source.epoch(1), label, len(source)):
        if len(batch.inputs) > 1:  # one image at 32 pixels is one value of a channel
            yield batch.inputs.to(setup.device)
