"""The epochs of a run: stage by stage, the best of them kept, each able to be the last."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import torch

from toolchain.errors import TrainingError
from toolchain.files import write_text
from toolchain.metrics.outputs import Outputs
from toolchain.networks.resnet import State
from toolchain.progress import ProgressReporter
from toolchain.runs.runfolder import RunFolder
from toolchain.training.analysis.tensorboard import EventLog
from toolchain.training.checkpoints import (
    Checkpoint,
    Checkpoints,
    load_optimizer,
    load_random_state,
    optimizer_state,
    random_state,
    resume_command,
)
from toolchain.training.features.source import FeatureSource
from toolchain.training.inputs.samples import labels_of, targets_of
from toolchain.training.inputs.seeds import mixed_seed
from toolchain.training.loop import (
    EpochMetrics,
    make_stepper,
    predict_split,
    require_number,
    train_epoch,
)
from toolchain.training.optim.averaging import MovingAverage, copy_into
from toolchain.training.optim.schedules import Schedule, make_optimizer, rates
from toolchain.training.setup import Setup
from toolchain.training.stage_inputs import Inputs, stage_inputs, train_order, wrapped
from toolchain.training.strategies import Stage, enter_stage, set_training_mode


@dataclass(frozen=True)
class Best:
    """The best epoch so far."""

    epoch: int
    weights: State
    """Copies of the tensors that training changes."""
    outputs: Outputs
    """What it said about the validation images."""


@dataclass(frozen=True)
class FinishedEpochs:
    """The finished epochs: one value, so that Ctrl-C finds an epoch in it wholly or not at all."""

    history: tuple[dict[str, Any], ...] = ()
    """The lines of metrics.jsonl."""
    best: Best | None = None


class Trainer:
    """Trains a setup and keeps the best epoch.

    Its whole state goes into a checkpoint: a trainer that has loaded one goes on as the one that
    wrote it would have.
    """

    def __init__(self, setup: Setup, run: RunFolder, progress: ProgressReporter) -> None:
        self.setup, self.run, self.progress = setup, run, progress
        settings, processes = setup.settings, setup.processes
        # Starting weights drew from the generators; how much, depends on where they came from.
        torch.manual_seed(mixed_seed(settings.seed, processes.rank))
        enter_stage(setup.classifier.network, setup.stages[-1])
        self.optimizer = make_optimizer(setup.classifier, settings)
        steps = -(-len(train_order(setup)) // settings.accumulate)
        self.schedule = Schedule(self.optimizer, settings, steps)
        self.weights = setup.trained_state()
        self.average = MovingAverage(self.weights, settings.ema) if settings.ema else None
        self.checkpoints = Checkpoints(run)
        self.stepper = make_stepper(setup, self.optimizer)
        self.stage = 0
        self.finished = FinishedEpochs()
        self.from_features: bool | None = None
        self.saved_epoch = 0
        self.log = EventLog(run, settings) if processes.is_rank_zero else None

    @property
    def epoch(self) -> int:
        """The last finished epoch, 0 before the first."""
        return len(self.finished.history)

    @property
    def best(self) -> Best:
        """The best epoch; there must be a finished one."""
        assert self.finished.best is not None
        return self.finished.best

    def fit(self) -> None:
        """Train the epochs that are left."""
        for number in range(self.stage, len(self.setup.stages)):
            self.stage = number
            stage = self.setup.stages[number]
            if not self._is_over(stage):
                inputs = self._enter(stage)
                while not self._is_over(stage):
                    self._epoch(inputs)
        self.save()

    def save(self) -> None:
        """Write a checkpoint of the last finished epoch, unless there is one already."""
        if self.epoch == self.saved_epoch:
            return
        random_states = self.setup.processes.gather(random_state())
        if self.setup.processes.is_rank_zero:
            self._write_checkpoint(random_states)
        self.saved_epoch = self.epoch

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint; TrainingError where the number of processes is another."""
        tensors, record = checkpoint
        before, now = len(record["random"]), self.setup.processes.count
        if before != now:
            raise TrainingError(
                f"{self.run.path} was trained by {before} processes, and here are {now}",
                hint=resume_command(self.run, before),
            )
        copy_into(self.weights, _under("model", tensors))
        load_optimizer(self.optimizer, _under("optimizer", tensors), record["optimizer_groups"])
        self.schedule.load(record["schedule"])
        self.stepper.scaler.load_state_dict(record["scaler"])
        if self.average is not None:
            self.average.steps = record["average_steps"]
            copy_into(self.average.average, _under("average", tensors))
        self.stage = record["stage"]
        targets = targets_of(self.setup.dataset.val, len(self.setup.dataset.classes))
        outputs = Outputs(tensors["best_logits"].numpy(), labels_of(targets))
        best = Best(record["best_epoch"], _under("best", tensors), outputs)
        self.finished = FinishedEpochs(tuple(record["history"]), best)
        self.from_features = record["from_features"]
        rank = str(self.setup.processes.rank)
        load_random_state(_under(f"random.{rank}", tensors), record["random"][int(rank)])
        self.saved_epoch = self.epoch
        if self.setup.processes.is_rank_zero:
            # Epochs after the checkpoint are trained again.
            write_metrics(self.run, self.finished.history)

    def best_state(self) -> State:
        """Return all tensors of the best epoch's classifier."""
        return {**self.setup.classifier.state_dict(), **self.best.weights}

    def _enter(self, stage: Stage) -> Inputs:
        classifier = self.setup.classifier
        trainable = enter_stage(classifier.network, stage)
        several = len(self.setup.stages) > 1
        when = f"epoch {self.epoch + 1}: " if several else ""
        self.progress.message(f"{when}{trainable}")
        # A stage ends as it began: features are rounded to 16 bits, so pixels give other weights.
        began = self.from_features if self.epoch >= stage.first_epoch else None
        inputs = stage_inputs(self.setup, stage, self.progress, features=began is not False)
        from_features = isinstance(inputs.train, FeatureSource)
        if began and not from_features:
            raise TrainingError(
                f"{self.run.path} was trained from kept features and can't go on without them",
                hint="make room for them, or start again with --no-cache",
            )
        self.from_features = from_features
        self.stepper.model = wrapped(self.setup, inputs.model)
        return inputs

    def _epoch(self, inputs: Inputs) -> None:
        settings, epoch = self.setup.settings, self.epoch + 1
        started, used = time.monotonic(), rates(self.optimizer)
        label = f"epoch {epoch:>{len(str(settings.epochs))}}/{settings.epochs}"
        set_training_mode(self.setup.classifier)
        trained = train_epoch(
            self.stepper,
            inputs.train.epoch(epoch),
            len(inputs.train),
            accumulate=settings.accumulate,
            after_step=self._after_step,
            progress=self.progress,
            label=label,
        )
        outputs = self._validate(inputs, f"{label}, validation")
        require_number(outputs.loss, f"{label}, validation")
        self.schedule.after_epoch(outputs.score(settings.metric))
        row = self._row(trained, outputs, used, time.monotonic() - started)
        best = self._better(epoch, outputs)
        self.finished = FinishedEpochs((*self.finished.history, row), best)
        self._tell(label, row)
        # All processes must agree: saving gathers from all of them.
        if self.setup.processes.from_rank_zero(self.checkpoints.due()):
            self.save()

    def _after_step(self) -> None:
        self.schedule.after_step()
        if self.average is not None:
            self.average.update()

    def _validate(self, inputs: Inputs, label: str) -> Outputs:
        def predict() -> Outputs:
            # Each process has statistics of its own images; what is judged must be what is saved.
            self.setup.processes.align(self.weights.values())
            return predict_split(
                inputs.model,
                inputs.val,
                self.setup.device,
                self.progress,
                label=label,
                processes=self.setup.processes,
            )

        if self.average is None:
            return predict()
        with self.average.in_place():
            return predict()

    def _better(self, epoch: int, outputs: Outputs) -> Best:
        """Return the better of this epoch and the best so far.

        The metric decides, then the lower loss: small validation sets tie often.
        """
        metric, best = self.setup.settings.metric, self.finished.best
        if best is not None:
            before = (best.outputs.score(metric), -best.outputs.loss)
            if (outputs.score(metric), -outputs.loss) <= before:
                return best
        judged = self.average.average if self.average else self.weights
        copies = {name: tensor.detach().clone() for name, tensor in judged.items()}
        return Best(epoch, copies, outputs)

    def _is_over(self, stage: Stage) -> bool:
        """Say whether a stage has had its epochs, or patience has run out in it."""
        last = stage.first_epoch + stage.epochs - 1
        patience = self.setup.settings.early_stopping
        best = self.finished.best.epoch if self.finished.best else 0
        waited = self.epoch - max(best, stage.first_epoch - 1)
        return self.epoch >= last or bool(patience and waited >= patience)

    def _row(
        self, trained: EpochMetrics, outputs: Outputs, used: list[float], seconds: float
    ) -> dict[str, Any]:
        """Return an epoch's line of metrics.jsonl."""
        auc = outputs.auc
        row: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "train_loss": round(trained.loss, 6),
            "train_accuracy": round(trained.accuracy, 6),
            "val_loss": round(outputs.loss, 6),
            "val_accuracy": round(outputs.accuracy, 6),
            "val_macro_f1": round(outputs.macro_f1, 6),
            "val_auc": None if auc is None else round(auc, 6),
            "learning_rates": used,
            "seconds": round(seconds, 3),
        }
        if not self.epoch:
            row["train_loss_start"] = trained.step_losses
        return row

    def _tell(self, label: str, row: dict[str, Any]) -> None:
        """Write the line of an epoch, and say it."""
        if self.setup.processes.is_rank_zero:
            with self.run.metrics.open("a", encoding="utf-8") as file:
                file.write(msgspec.json.encode(row).decode() + "\n")
        if self.log is not None:
            self.log.write(row)
        auc = "–" if row["val_auc"] is None else f"{row['val_auc']:.3f}"
        self.progress.message(
            f"{label}  loss {row['train_loss']:.3f} → {row['val_loss']:.3f}  "
            f"acc {row['train_accuracy']:.1%} → {row['val_accuracy']:.1%}  "
            f"F1 {row['val_macro_f1']:.3f}  AUC {auc}  {row['seconds']:.1f} s"
        )

    def _write_checkpoint(self, random_states: list[tuple[State, dict[str, Any]]]) -> None:
        optimizer_tensors, groups = optimizer_state(self.optimizer)
        named = {
            "model": self.weights,
            "best": self.best.weights,
            "optimizer": optimizer_tensors,
            "average": self.average.average if self.average else {},
            **{f"random.{rank}": tensors for rank, (tensors, _) in enumerate(random_states)},
        }
        tensors = {
            f"{prefix}.{name}": tensor
            for prefix, state in named.items()
            for name, tensor in state.items()
        }
        tensors["best_logits"] = torch.from_numpy(self.best.outputs.logits)
        record = {
            "stage": self.stage,
            "history": self.finished.history,
            "best_epoch": self.best.epoch,
            "from_features": self.from_features,
            "optimizer_groups": groups,
            "schedule": self.schedule.state(),
            "scaler": self.stepper.scaler.state_dict(),
            "average_steps": self.average.steps if self.average else 0,
            "random": [plain for _, plain in random_states],
        }
        self.checkpoints.save(self.epoch, tensors, record)


def write_metrics(run: RunFolder, rows: Sequence[dict[str, Any]]) -> None:
    """Write metrics.jsonl, whole or not at all."""
    lines = [msgspec.json.encode(row).decode() + "\n" for row in rows]
    write_text(run.metrics, "".join(lines))


def _under(prefix: str, tensors: State) -> State:
    """Return the tensors whose names begin with `prefix` and a dot, without it."""
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
