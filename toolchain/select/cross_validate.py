"""`rtl finetune --cv`: the accuracy that a training reaches, by cross-validation; none is kept."""

from __future__ import annotations

import time
from collections.abc import Iterable

import msgspec
import numpy as np

from toolchain.display import Block, Displayed, Facts, counted, percent
from toolchain.metrics.evidence import accuracy_words
from toolchain.metrics.intervals import wilson_interval
from toolchain.metrics.outputs import Outputs
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_sources import refuse
from toolchain.select.clock import TimedReporter
from toolchain.select.inputs import labelled_images, make_pool, read_inputs
from toolchain.training.choosing import Chooser
from toolchain.training.fold_trainer import keep_features, train_fold
from toolchain.training.machine_failures import machine_failures


class CrossValidation(Displayed, msgspec.Struct, frozen=True, kw_only=True):
    """What a training reaches on images that it was not trained on. Rates in 0…1."""

    version: int = 1
    data: str
    strategy: str
    images: int
    """Images that were held out, each once."""
    folds: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    """At 95 %, as of so many independent images; a little narrow, since trainings share images."""
    fold_accuracies: list[float]
    macro_f1: float
    seconds: float

    def blocks(self) -> list[Block]:
        """Return the accuracy with its interval, and how much the folds differ."""
        low, high = min(self.fold_accuracies), max(self.fold_accuracies)
        correct = round(self.accuracy * self.images)
        return [
            Facts(
                [
                    ("strategy", self.strategy),
                    ("accuracy", accuracy_words(correct, self.images)),
                    ("macro F1", f"{self.macro_f1:.3f}"),
                    ("folds", f"{self.folds}, from {percent(low)} to {percent(high)}"),
                    ("time", f"{self.seconds:.0f} s"),
                ]
            )
        ]


def cross_validate(
    settings: FinetuneSettings,
    folds: int,
    *,
    progress: ProgressReporter | None = None,
    choose: Chooser | None = None,
) -> CrossValidation:
    """Train without each of the folds in turn, and measure on it. Nothing is written or kept.

    Taken are all labelled images, but a validation or test split that the data came with. The last
    epoch of each training counts: choosing the best one on the held-out images would flatter it.
    Raises SettingsError for a budget, DataError and TrainingError as `finetune` does.
    """
    progress = progress or SilentReporter()
    started = time.monotonic()
    if settings.budget:
        reason = "--cv measures one way to train, and a budget searches for one"
        raise refuse("budget", reason, {"budget": "", "strategy": "head"})
    inputs = read_inputs(settings, "--cv", progress)
    samples = labelled_images(inputs.dataset)
    pool = make_pool(inputs.dataset, samples, folds, settings.seed)
    if len(pool.folds) < folds:
        progress.message(f"--cv {folds}: {len(pool.folds)} folds, as no class has images for more")
    if choose is not None:
        settings = choose(inputs, progress).settings
    with machine_failures():
        keep_features(inputs, settings, samples, TimedReporter(progress, None))
        outputs = []
        for number, fold in enumerate(pool.folds):
            train, held_out = pool.split(fold)
            quiet = TimedReporter(SilentReporter(), None)
            outputs.append(train_fold(inputs, settings, train, held_out, quiet))
            progress.message(
                f"fold {number + 1}/{len(pool.folds)}: {percent(outputs[-1].accuracy)} of "
                f"{counted(len(held_out), 'image')}"
            )
    joined = _joined(outputs)
    correct = round(joined.accuracy * len(samples))
    return CrossValidation(
        data=settings.data,
        strategy=settings.strategy,
        images=len(samples),
        folds=len(pool.folds),
        accuracy=joined.accuracy,
        accuracy_interval=wilson_interval(correct, len(samples)),
        fold_accuracies=[one.accuracy for one in outputs],
        macro_f1=joined.macro_f1,
        seconds=round(time.monotonic() - started, 3),
    )


def _joined(outputs: Iterable[Outputs]) -> Outputs:
    parts = list(outputs)
    logits = np.concatenate([part.logits for part in parts])
    return Outputs(logits, np.concatenate([part.labels for part in parts]))
