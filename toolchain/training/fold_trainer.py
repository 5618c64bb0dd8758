"""Training on a part of the images to learn what it reaches on the rest; nothing is written.

The held-out images must not choose anything, or their accuracy would be too good: the last epoch
counts and not the best, and neither rates nor the end of training go by them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import torch

from toolchain.data.layouts import Sample
from toolchain.metrics.outputs import Outputs
from toolchain.networks.resnet import with_head_stages
from toolchain.networks.split import count_frozen_parts
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import TRACKERS, FinetuneSettings
from toolchain.training.best_epoch import BestEpoch
from toolchain.training.choosing import ChoiceInputs
from toolchain.training.distributed import Processes
from toolchain.training.feasible import require_feasible
from toolchain.training.inputs.seeds import mixed_seed
from toolchain.training.probe_start import begin_head
from toolchain.training.setup import Setup, prepare
from toolchain.training.stage_inputs import StageInputs, stage_inputs
from toolchain.training.starting_weights import StartingWeights
from toolchain.training.strategies import enter_stage
from toolchain.training.trainer import Trainer

Samples = Sequence[Sample]
AfterEpoch = Callable[[Trainer], None]
"""What may end the training of a fold, by an exception of its own."""


class UnwrittenTrainer(Trainer):
    """Trains as `Trainer` does and writes no file."""

    def __init__(
        self, setup: Setup, progress: ProgressReporter, deadline: float | None = None
    ) -> None:
        super().__init__(setup, RunFolder("fold"), progress, deadline)
        self.log.writes_files = False

    def save(self) -> None:
        """Write no checkpoint."""


class FoldTrainer(UnwrittenTrainer):
    """Keeps the last epoch, whatever the held-out images say of it."""

    def __init__(
        self, setup: Setup, progress: ProgressReporter, after_epoch: AfterEpoch | None = None
    ) -> None:
        super().__init__(setup, progress)
        self._after_epoch = after_epoch

    def _train_epoch(self, inputs: StageInputs) -> None:
        super()._train_epoch(inputs)
        if self._after_epoch is not None:
            self._after_epoch(self)

    def _better(self, epoch: int, outputs: Outputs) -> BestEpoch:
        return BestEpoch(epoch, {}, outputs)


def train_fold(
    inputs: ChoiceInputs,
    settings: FinetuneSettings,
    train: Samples,
    held_out: Samples,
    progress: ProgressReporter,
) -> Outputs:
    """Train on some images and return the outputs for the held-out ones, after the last epoch.

    Raises SettingsError where these settings can't train on so many images.
    """
    return trained_fold(inputs, settings, train, held_out, progress).best.outputs


def trained_fold(
    inputs: ChoiceInputs,
    settings: FinetuneSettings,
    train: Samples,
    held_out: Samples,
    progress: ProgressReporter,
    after_epoch: AfterEpoch | None = None,
) -> FoldTrainer:
    """Return what has trained as `train_fold` does, with its network.

    `after_epoch` is called with the trainer after each epoch.
    """
    setup = _setup(inputs, settings, train, held_out, progress)
    require_feasible(setup.settings, setup.dataset, setup.device, 1, SilentReporter())
    begin_head(setup, progress)
    trainer = FoldTrainer(setup, progress, after_epoch)
    trainer.fit()
    return trainer


def keep_features(
    inputs: ChoiceInputs, settings: FinetuneSettings, samples: Samples, progress: ProgressReporter
) -> None:
    """Compute the features that all folds of these images will need, where some are kept.

    Otherwise each fold would compute those of its own held-out images, and drop the others'.
    """
    setup = _setup(inputs, settings, samples, samples, progress)
    for stage in setup.stages:
        enter_stage(setup.classifier.network, stage)
        if settings.cache and count_frozen_parts(setup.classifier.network):
            stage_inputs(setup, stage, progress)


def _setup(
    inputs: ChoiceInputs,
    settings: FinetuneSettings,
    train: Samples,
    held_out: Samples,
    progress: ProgressReporter,
) -> Setup:
    schedule = "constant" if settings.schedule == "plateau" else settings.schedule
    unwatched = msgspec.structs.replace(
        settings,
        schedule=schedule,
        early_stopping=0,
        metric="accuracy",
        **dict.fromkeys(TRACKERS, False),
    )
    dataset = replace(inputs.dataset, train=tuple(train), val=tuple(held_out))
    classifier = copy.deepcopy(inputs.start.classifier)
    torch.manual_seed(mixed_seed(settings.seed, 0))
    classifier = with_head_stages(classifier, settings.head_stages)
    start = StartingWeights(classifier, inputs.start.origin)
    return prepare(unwatched, dataset, start, inputs.device, Processes(), progress)
