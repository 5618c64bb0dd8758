"""Trains the candidates of a comparison without a fold, as long as there is time."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from toolchain.errors import SettingsError, TrainingError
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.select.clock import OVER, EpochsTooSlow, OutOfTime, TimedReporter
from toolchain.select.going_on import Search
from toolchain.select.inputs import Pool
from toolchain.select.rounds import Right, Trial
from toolchain.training.choosing import ChoiceInputs
from toolchain.training.fold_trainer import FoldTrainer, keep_features, trained_fold
from toolchain.training.machine_failures import MachineFailure
from toolchain.training.trainer import Trainer


def ends_in_time(end: float) -> Callable[[Trainer], None]:
    """Return what raises OutOfTime after an epoch when the others can't be done by far until `end`.

    `end` is as `time.monotonic` counts.
    """

    def check(trainer: Trainer) -> None:
        seconds = min(float(row["seconds"]) for row in trainer.finished.history)
        rest_s = seconds * (trainer.setup.settings.epochs - trainer.epoch)
        if rest_s > OVER * max(0.0, end - time.monotonic()):
            raise OutOfTime

    return check


def fold_training(
    inputs: ChoiceInputs,
    pool: Pool,
    deadline: float,
    progress: ProgressReporter,
    search: Search,
    until: Callable[[Trial], float] | None = None,
    when_trained: Callable[[Trial, int, FoldTrainer], None] | None = None,
) -> Callable[[Trial, int], Right]:
    """Return what trains a trial without a fold.

    It raises OutOfTime at the deadline, and EpochsTooSlow where its epochs took too long for that.

    What `search` has finished is not trained again. `until` gives a trial an earlier end;
    `when_trained` gets each network that was trained.
    """
    prepared: set[str] = set()

    def train(trial: Trial, fold: int) -> Right:
        right = search.right(trial, fold)
        if right is None:
            started = time.monotonic()
            right = trained(trial, fold)
            search.keep_fold(trial, fold, right, time.monotonic() - started)
        progress.message(
            f"{trial.name}, fold {fold + 1}: {right.sum()} of {len(right)} images right"
        )
        return right

    def trained(trial: Trial, fold: int) -> Right:
        end = deadline if until is None else min(deadline, until(trial))
        if time.monotonic() > end:
            raise OutOfTime
        if trial.name not in prepared:
            keep_features(inputs, trial.settings, pool.samples, TimedReporter(progress, end))
            prepared.add(trial.name)
        quiet = TimedReporter(SilentReporter(), end)
        train_samples, held_out = pool.split(fold)
        try:
            trainer = trained_fold(
                inputs, trial.settings, train_samples, held_out, quiet, ends_in_time(end)
            )
        except MachineFailure:
            raise
        except OutOfTime as over:
            raise EpochsTooSlow from over
        except (TrainingError, SettingsError) as error:  # too high a rate, or too few images
            progress.message(f"{trial.name}: {error}")
            return np.zeros(len(held_out), bool)
        right: Right = trainer.best.outputs.right
        if when_trained is not None:
            when_trained(trial, fold, trainer)
        return right

    return train
