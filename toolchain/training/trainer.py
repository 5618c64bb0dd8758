"""Trains a setup stage by stage, keeps the best epoch, and saves and restores its state."""

from __future__ import annotations

import time

import msgspec
import torch

from toolchain.errors import TrainingError
from toolchain.metrics.evidence import can_show_a_difference
from toolchain.metrics.outputs import Outputs
from toolchain.networks.low_rank import merged
from toolchain.networks.resnet import State
from toolchain.progress import ProgressReporter
from toolchain.runs.image_size import reduced_size, small_epochs
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.alignment.aligner import Aligner
from toolchain.training.best_epoch import BestEpoch, FinishedEpochs
from toolchain.training.checkpoints import Checkpoint, Checkpoints, resume_command
from toolchain.training.epoch_log import EpochLog, metrics_row
from toolchain.training.features.source import FeatureSource
from toolchain.training.inputs.samples import labels_of, targets_of
from toolchain.training.inputs.seeds import mixed_seed
from toolchain.training.loop import make_stepper, predict_split, require_finite_loss, train_epoch
from toolchain.training.optim.averaging import MovingAverage, copy_into
from toolchain.training.optim.schedules import Schedule, learning_rates, make_optimizer
from toolchain.training.setup import Setup
from toolchain.training.stage_inputs import StageInputs, stage_inputs, train_order, wrap_model
from toolchain.training.strategies import Stage, enter_stage, set_training_mode
from toolchain.training.trainer_state import (
    RandomState,
    TrainerState,
    load_optimizer,
    load_random_state,
    optimizer_state,
    random_state,
)


class Trainer:
    """Trains a setup and keeps the best epoch.

    A trainer that has loaded a checkpoint continues exactly as the one that wrote it would have.
    """

    def __init__(
        self,
        setup: Setup,
        run: RunFolder,
        progress: ProgressReporter,
        deadline: float | None = None,
    ) -> None:
        """After the first epoch no epoch is begun that would end after `deadline`.

        It is as `time.monotonic` counts; None never ends the training.
        """
        self.deadline = deadline
        self.setup, self.run, self.progress = setup, run, progress
        settings, processes = setup.settings, setup.processes
        # Making the starting weights has drawn random numbers, how many depends on their origin.
        # Seed again, so that training does not depend on that.
        torch.manual_seed(mixed_seed(settings.seed, processes.rank))
        enter_stage(setup.classifier.network, setup.stages[-1])
        self.optimizer = make_optimizer(setup.classifier, settings)
        self.aligner = _make_aligner(setup)
        if self.aligner is not None:
            self.aligner.add_parameters(self.optimizer)
        steps_per_epoch = -(-len(train_order(setup)) // settings.accumulate)
        watching = _without_guesses(settings, len(setup.dataset.val))
        self.schedule = Schedule(self.optimizer, watching, steps_per_epoch)
        self.patience = watching.early_stopping
        self.weights = setup.trained_state()
        self.ema = MovingAverage(self.weights, settings.ema) if settings.ema else None
        self.checkpoints = Checkpoints(run)
        self.stepper = make_stepper(setup, self.optimizer, self.aligner)
        self.stage = 0
        self.trained_layers = 0
        self.finished = FinishedEpochs()
        self.from_features: bool | None = None
        self.saved_epoch = 0
        self.model_written = False
        """Whether the best epoch is in the run folder."""
        self.log = EpochLog(run, settings, processes, progress)

    @property
    def epoch(self) -> int:
        """The last finished epoch; 0 before the first."""
        return len(self.finished.history)

    @property
    def best(self) -> BestEpoch:
        """The best epoch; there must be a finished one."""
        assert self.finished.best is not None
        return self.finished.best

    def fit(self) -> None:
        """Train the remaining epochs."""
        settings, small = self.setup.settings, small_epochs(self.setup.settings)
        if self.epoch < small:
            self.progress.message(
                f"images of {settings.start_size} pixels to epoch {small}, then of {settings.size}"
            )
        for number in range(self.stage, len(self.setup.stages)):
            self.stage = number
            stage = self.setup.stages[number]
            if not self._is_over(stage):
                inputs = self._enter(stage)
                while not self._is_over(stage):
                    self._train_epoch(inputs)
        self.save()

    def save(self) -> None:
        """Write a checkpoint of the last finished epoch, unless there is one already."""
        if self.epoch == self.saved_epoch:
            return
        random_states = self.setup.processes.gather(random_state())
        if self.setup.processes.is_rank_zero:
            checkpoint = self._state(random_states).to_checkpoint()
            if self.checkpoints.has_room(checkpoint.tensors, self.progress):
                self.checkpoints.save(self.epoch, checkpoint)
        self.saved_epoch = self.epoch

    def save_start(self) -> None:
        """Write the weights that training does not change, where there is room for them.

        A run that is resumed without them makes them again from its settings.
        """
        frozen = self.setup.frozen_state()
        if self.checkpoints.has_room(frozen, self.progress):
            self.checkpoints.save_start(frozen, self.setup.origin)

    def load(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint; TrainingError where the number of processes differs."""
        state = TrainerState.from_checkpoint(checkpoint)
        before, now = len(state.random), self.setup.processes.count
        if before != now:
            raise TrainingError(
                f"{self.run.path} was trained by {before} processes, and here are {now}",
                hint=resume_command(self.run, before),
            )
        copy_into(self.weights, state.model)
        load_optimizer(self.optimizer, state.optimizer)
        self.schedule.load(state.schedule)
        self.stepper.scaler.load_state_dict(state.scaler)
        if self.ema is not None:
            self.ema.steps = state.average_steps
            copy_into(self.ema.average, state.average)
        if self.aligner is not None:
            self.aligner.load(state.alignment)
        self.stage, self.from_features = state.stage, state.from_features
        targets = targets_of(self.setup.dataset.val, len(self.setup.dataset.classes))
        outputs = Outputs(state.best_logits.numpy(), labels_of(targets))
        best = BestEpoch(state.best_epoch, state.best, outputs)
        self.finished = FinishedEpochs(state.history, best)
        load_random_state(state.random[self.setup.processes.rank])
        self.saved_epoch = self.epoch
        self.log.rewrite(self.finished.history)

    def best_state(self) -> State:
        """Return all tensors of the best epoch's classifier, low-rank differences merged."""
        return merged({**self.setup.classifier.state_dict(), **self.best.weights})

    def _state(self, random_states: list[RandomState]) -> TrainerState:
        return TrainerState(
            stage=self.stage,
            history=self.finished.history,
            from_features=self.from_features,
            model=self.weights,
            best_epoch=self.best.epoch,
            best=self.best.weights,
            best_logits=torch.from_numpy(self.best.outputs.logits),
            optimizer=optimizer_state(self.optimizer),
            schedule=self.schedule.state(),
            scaler=self.stepper.scaler.state_dict(),
            average=self.ema.average if self.ema else {},
            average_steps=self.ema.steps if self.ema else 0,
            random=tuple(random_states),
            alignment=self.aligner.state() if self.aligner else {},
        )

    def _enter(self, stage: Stage) -> StageInputs:
        """Freeze what a stage freezes, report it, and return the stage's inputs."""
        trainable = enter_stage(self.setup.classifier.network, stage)
        several = len(self.setup.stages) > 1
        when = f"epoch {self.epoch + 1}: " if several else ""
        self.progress.message(f"{when}{trainable}")
        self.trained_layers = trainable.layers
        # A resumed stage keeps the inputs it began with: cached features are rounded to 16 bits,
        # so training from pixels instead would give other weights.
        before = self.from_features if self.epoch >= stage.first_epoch else None
        inputs = stage_inputs(self.setup, stage, self.progress, features=before is not False)
        from_features = isinstance(inputs.train, FeatureSource)
        if before and not from_features:
            raise TrainingError(
                f"{self.run.path} was trained from kept features and can't be resumed without them",
                hint="make room for them, or start again with --no-cache",
            )
        self.from_features = from_features
        self.stepper.model = wrap_model(self.setup, inputs.model)
        return inputs

    def _train_epoch(self, inputs: StageInputs) -> None:
        """Train and validate one epoch, report it, and write a checkpoint where one is due."""
        settings, epoch = self.setup.settings, self.epoch + 1
        started, used_rates = time.monotonic(), learning_rates(self.optimizer)
        label = f"epoch {epoch:>{len(str(settings.epochs))}}/{settings.epochs}"
        set_training_mode(self.setup.classifier)
        if self.aligner is not None and inputs.target is not None:
            self.aligner.begin_epoch(inputs.target, epoch)
        self.stepper.image_size = reduced_size(settings, epoch)
        training = train_epoch(
            self.stepper,
            inputs.train.epoch(epoch),
            len(inputs.train),
            settings=settings,
            images_in_epoch=len(inputs.train.samples),
            after_step=self._after_step,
            progress=self.progress,
            label=label,
        )
        validation = self._validate(inputs, f"{label}, validation")
        require_finite_loss(validation.loss, f"{label}, validation", settings)
        self.schedule.after_epoch(validation.score(settings.metric))
        seconds = time.monotonic() - started
        row = metrics_row(epoch, training, validation, used_rates, seconds, self.trained_layers)
        best = self._better(epoch, validation)
        self.finished = FinishedEpochs((*self.finished.history, row), best)
        self.log.write(label, row)
        # All processes must decide alike: saving gathers the random states of all of them.
        if self.setup.processes.from_rank_zero(self.checkpoints.due()):
            self.save()

    def _after_step(self) -> None:
        self.schedule.after_step()
        if self.ema is not None:
            self.ema.update()

    def _validate(self, inputs: StageInputs, label: str) -> Outputs:
        """Return the outputs for the validation images, of the moving average where one is kept."""

        def predict() -> Outputs:
            # BatchNorm statistics differ between processes: validate those that are saved.
            self.setup.processes.broadcast(self.weights.values())
            return predict_split(
                inputs.model,
                inputs.val,
                self.setup.device,
                self.progress,
                label=label,
                processes=self.setup.processes,
            )

        if self.ema is None:
            return predict()
        with self.ema.swapped_in():
            return predict()

    def _better(self, epoch: int, outputs: Outputs) -> BestEpoch:
        """Return the better of this epoch and the best before it.

        Of a model for another camera the last epoch is kept: the validation images are not that
        camera's.
        """
        metric, best = self.setup.settings.metric, self.finished.best
        if best is not None and self.aligner is None and not best.is_beaten_by(outputs, metric):
            return best
        validated = self.ema.average if self.ema else self.weights
        copies = {name: tensor.detach().clone() for name, tensor in validated.items()}
        return BestEpoch(epoch, copies, outputs)

    def _is_over(self, stage: Stage) -> bool:
        """Return whether the epochs of a stage are finished, or early stopping ends it."""
        last = stage.first_epoch + stage.epochs - 1
        best = self.finished.best.epoch if self.finished.best else 0
        without_gain = self.epoch - max(best, stage.first_epoch - 1)
        over = self.epoch >= last or bool(self.patience and without_gain >= self.patience)
        return over or self.is_out_of_time()

    def is_out_of_time(self) -> bool:
        """Return whether another epoch would end after the deadline."""
        if self.deadline is None or not self.finished.history:
            return False
        epoch_seconds = float(self.finished.history[-1]["seconds"])
        return time.monotonic() + epoch_seconds > self.deadline


def _make_aligner(setup: Setup) -> Aligner | None:
    """Return what aligns the classifier to another camera; None where there is none."""
    if setup.camera is None:
        return None
    return Aligner(
        setup.classifier, setup.camera, setup.settings, setup.mixed_precision, setup.device
    )


def _without_guesses(settings: FinetuneSettings, images: int) -> FinetuneSettings:
    """Return the settings, without what so few validation images can't decide.

    `require_feasible` reports it.
    """
    if can_show_a_difference(images):
        return settings
    schedule = "constant" if settings.schedule == "plateau" else settings.schedule
    return msgspec.structs.replace(settings, schedule=schedule, early_stopping=0)
