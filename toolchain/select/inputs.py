"""The data and the weights of a comparison that trains no model to keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolchain.data.layouts import Dataset, Sample
from toolchain.display import counted
from toolchain.errors import DataError, TrainingError
from toolchain.networks.device import choose_device
from toolchain.networks.weights import require_weights
from toolchain.progress import ProgressReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_sources import refuse
from toolchain.select.folds import folds_of
from toolchain.training.choosing import ChoiceInputs
from toolchain.training.data import read_data
from toolchain.training.distributed import Processes, is_single_process
from toolchain.training.feasible import require_device_fits
from toolchain.training.starting_weights import make_starting_weights


@dataclass(frozen=True)
class Pool:
    """The images of a cross-validation, and the fold of each."""

    samples: tuple[Sample, ...]
    fold_of: NDArray[np.int64]

    @property
    def folds(self) -> list[int]:
        """The numbers of the folds that have images."""
        return [int(fold) for fold in np.unique(self.fold_of)]

    def split(self, fold: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
        """Return (the images of the other folds, those of this one)."""
        train = tuple(s for s, own in zip(self.samples, self.fold_of, strict=True) if own != fold)
        return train, tuple(
            s for s, own in zip(self.samples, self.fold_of, strict=True) if own == fold
        )


def read_inputs(settings: FinetuneSettings, what: str, progress: ProgressReporter) -> ChoiceInputs:
    """Return the data, the weights and the device; nothing is written.

    Raises TrainingError under torchrun, naming `what` was asked for, and as `finetune` does.
    """
    if not is_single_process():
        raise TrainingError(f"{what} runs in one process", hint="start it in one process")
    if settings.target:
        reason = f"{what} measures on images of the training camera, not of another"
        raise refuse("target", reason, {"target": ""})
    require_weights(settings.weights)
    device = choose_device(settings.device)
    require_device_fits(settings, device)
    dataset, _ = read_data(settings, None, Processes(), progress)
    start = make_starting_weights(settings, dataset.classes, progress)
    progress.message(f"{settings.arch} from {start.origin}, on {device}")
    return ChoiceInputs(settings, dataset, start, device)


def labelled_images(dataset: Dataset) -> tuple[Sample, ...]:
    """Return the images of a cross-validation: all, but those of splits that the data came with."""
    if dataset.by_hash:
        return (*dataset.train, *dataset.val, *dataset.test)
    return (*dataset.train, *dataset.val) if dataset.val_by_hash else dataset.train


def make_pool(dataset: Dataset, samples: Sequence[Sample], folds: int, seed: int) -> Pool:
    """Return the images in folds; raise DataError where a class can't be in two of them."""
    fold_of = folds_of(dataset, samples, folds, seed)
    for label, name in enumerate(dataset.classes):
        own = {int(f) for s, f in zip(samples, fold_of, strict=True) if label in s.labels}
        if len(own) < 2:
            count = sum(label in sample.labels for sample in samples)
            raise DataError(
                f"{dataset.root}: '{name}' has {counted(count, 'image')} to compare by, which "
                "can't be in two folds, so no training without one of them would know the class",
                hint="add images of other objects, leave the class out, or train without a "
                "comparison: none of --budget, --cv and --try",
            )
    return Pool(tuple(samples), fold_of)
