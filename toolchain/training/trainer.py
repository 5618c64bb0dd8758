"""The epochs of a run: stage by stage, the best of them kept, each able to be the last."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import torch

from toolchain.narrator import Narrator
from toolchain.runfolder import RunFolder, write_text
from toolchain.training.averaging import MovingAverage, copy_into
from toolchain.training.checkpoints import (
    Checkpoints,
    load_optimizer,
    load_random_state,
    optimizer_state,
    random_state,
)
from toolchain.training.event_log import EventLog
from toolchain.training.inputs import Inputs, stage_inputs, train_order, wrapped
from toolchain.training.loop import Pass, Stepper, predict_split, train_epoch
from toolchain.training.mixing import make_mixer
from toolchain.training.models import State
from toolchain.training.outputs import Outputs
from toolchain.training.samples import labels_of, targets_of
from toolchain.training.schedules import Schedule, make_optimizer, rates
from toolchain.training.seeds import mixed_seed
from toolchain.training.setup import Setup
from toolchain.training.strategies import Stage, enter_stage, set_training_mode


class Trainer:
    """Trains a setup and keeps the best epoch.

    Its whole state goes into a checkpoint: a trainer that has loaded one goes on as the one that
    wrote it would have.
    """

    def __init__(self, setup: Setup, run: RunFolder, narrator: Narrator) -> None:
        self.setup, self.run, self.narrator = setup, run, narrator
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
        self.stepper = Stepper(
            model=setup.classifier,
            optimizer=self.optimizer,
            loss=setup.loss(),
            arithmetic=setup.arithmetic,
            scaler=setup.arithmetic.scaler(setup.device),
            device=setup.device,
            multi_label=settings.task == "multi-label",
            mixer=make_mixer(settings, len(setup.dataset.classes)),
            clip_norm=settings.clip_norm,
            processes=processes,
        )
        self.stage = 0
        self.history: list[dict[str, Any]] = []
        self.best_epoch = 0
        self.best_weights: State = {}
        self.best_outputs: Outputs
        self.saved_epoch = 0
        self.log = EventLog(run, settings) if processes.is_writer else None

    @property
    def epoch(self) -> int:
        """The last finished epoch, 0 before the first."""
        return len(self.history)

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
        if self.setup.processes.is_writer:
            self._write_checkpoint(random_states)
        self.saved_epoch = self.epoch

    def load(self) -> bool:
        """Go on from the newest checkpoint; False where there is none."""
        found = self.checkpoints.load()
        if found is None:
            return False
        tensors, record = found
        copy_into(self.weights, _under("model", tensors))
        load_optimizer(self.optimizer, _under("optimizer", tensors), record["optimizer_groups"])
        self.schedule.load(record["schedule"])
        self.stepper.scaler.load_state_dict(record["scaler"])
        if self.average is not None:
            self.average.steps = record["average_steps"]
            copy_into(self.average.average, _under("average", tensors))
        self.stage = record["stage"]
        self.history, self.best_epoch = record["history"], record["best_epoch"]
        self.best_weights = _under("best", tensors)
        targets = targets_of(self.setup.dataset.val, len(self.setup.dataset.classes))
        self.best_outputs = Outputs(tensors["best_logits"].numpy(), labels_of(targets))
        rank = str(self.setup.processes.rank)
        load_random_state(_under(f"random.{rank}", tensors), record["random"][int(rank)])
        self.saved_epoch = self.epoch
        if self.setup.processes.is_writer:
            self._rewrite_metrics()
        return True

    def best_state(self) -> State:
        """Give all tensors of the best epoch's classifier."""
        return {**self.setup.classifier.state_dict(), **self.best_weights}

    def _enter(self, stage: Stage) -> Inputs:
        classifier = self.setup.classifier
        trainable = enter_stage(classifier.network, stage)
        several = len(self.setup.stages) > 1
        when = f"epoch {self.epoch + 1}: " if several else ""
        self.narrator.say(f"{when}{trainable}")
        inputs = stage_inputs(self.setup, stage, self.narrator)
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
            narrator=self.narrator,
            label=label,
        )
        outputs = self._validate(inputs, f"{label}, validation")
        score = outputs.score(settings.metric)
        if self._is_best(outputs):
            self.best_epoch, self.best_outputs = epoch, outputs
            best = self.average.average if self.average else self.weights
            self.best_weights = {name: tensor.detach().clone() for name, tensor in best.items()}
        self.schedule.after_epoch(score)
        self._record(label, trained, outputs, used, time.monotonic() - started)
        # All processes must agree: saving gathers from all of them.
        if self.setup.processes.from_writer(self.checkpoints.due()):
            self.save()

    def _after_step(self) -> None:
        self.schedule.after_step()
        if self.average is not None:
            self.average.update()

    def _validate(self, inputs: Inputs, label: str) -> Outputs:
        def predict() -> Outputs:
            return predict_split(
                inputs.model,
                inputs.val,
                self.setup.device,
                self.narrator,
                label=label,
                processes=self.setup.processes,
            )

        if self.average is None:
            return predict()
        with self.average.in_place():
            return predict()

    def _is_best(self, outputs: Outputs) -> bool:
        """Prefer the metric, then the lower loss: small validation sets tie often."""
        if not self.best_epoch:
            return True
        metric, best = self.setup.settings.metric, self.best_outputs
        return (outputs.score(metric), -outputs.loss) > (best.score(metric), -best.loss)

    def _is_over(self, stage: Stage) -> bool:
        """Say whether a stage has had its epochs, or patience has run out in it."""
        last = stage.first_epoch + stage.epochs - 1
        patience = self.setup.settings.early_stopping
        waited = self.epoch - max(self.best_epoch, stage.first_epoch - 1)
        return self.epoch >= last or bool(patience and waited >= patience)

    def _record(
        self, label: str, trained: Pass, outputs: Outputs, used: list[float], seconds: float
    ) -> None:
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
        if not self.history:
            row["train_loss_start"] = trained.step_losses
        self.history.append(row)
        if self.setup.processes.is_writer:
            with self.run.metrics.open("a", encoding="utf-8") as file:
                file.write(msgspec.json.encode(row).decode() + "\n")
        if self.log is not None:
            self.log.write(row)
        self.narrator.say(
            f"{label}  loss {trained.loss:.3f} → {outputs.loss:.3f}  "
            f"accuracy {trained.accuracy:.1%} → {outputs.accuracy:.1%}  "
            f"F1 {outputs.macro_f1:.3f}  AUC {'–' if auc is None else f'{auc:.3f}'}  "
            f"{seconds:.1f} s"
        )

    def _write_checkpoint(self, random_states: list[tuple[State, dict[str, Any]]]) -> None:
        optimizer_tensors, groups = optimizer_state(self.optimizer)
        named = {
            "model": self.weights,
            "best": self.best_weights,
            "optimizer": optimizer_tensors,
            "average": self.average.average if self.average else {},
            **{f"random.{rank}": tensors for rank, (tensors, _) in enumerate(random_states)},
        }
        tensors = {
            f"{prefix}.{name}": tensor
            for prefix, state in named.items()
            for name, tensor in state.items()
        }
        tensors["best_logits"] = torch.from_numpy(self.best_outputs.logits)
        record = {
            "stage": self.stage,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "optimizer_groups": groups,
            "schedule": self.schedule.state(),
            "scaler": self.stepper.scaler.state_dict(),
            "average_steps": self.average.steps if self.average else 0,
            "random": [plain for _, plain in random_states],
        }
        self.checkpoints.save(self.epoch, tensors, record)

    def _rewrite_metrics(self) -> None:
        """Drop the lines of epochs after the checkpoint, which are trained again."""
        lines = [msgspec.json.encode(row).decode() + "\n" for row in self.history]
        write_text(self.run.metrics, "".join(lines))


def _under(prefix: str, tensors: State) -> State:
    """Give the tensors whose names begin with `prefix` and a dot, without it."""
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
