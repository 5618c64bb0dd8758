"""One step, one epoch of training, and one pass of evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toolchain.errors import TrainingError
from toolchain.metrics.outputs import Outputs
from toolchain.progress import ProgressReporter
from toolchain.training.distributed import Processes
from toolchain.training.inputs.mixing import Mixer, make_mixer
from toolchain.training.inputs.samples import Batch, BatchSource, labels_of
from toolchain.training.optim.losses import Loss
from toolchain.training.optim.precision import MixedPrecision
from toolchain.training.setup import Setup

CHECK_EVERY = 10
"""Steps after which the loss is looked at; each look waits for a GPU to finish."""
START_STEPS = 20
"""Steps of the first epoch whose losses are kept: an unstable start shows there."""


@dataclass(frozen=True)
class EpochMetrics:
    """Loss and accuracy over the training images of an epoch, as they were trained on."""

    loss: float
    accuracy: float
    step_losses: list[float]
    """The losses of the first steps."""


@dataclass
class Stepper:
    """Makes the steps of training."""

    model: nn.Module
    optimizer: Optimizer
    loss: Loss
    mixed_precision: MixedPrecision
    scaler: torch.amp.GradScaler
    device: torch.device
    multi_label: bool = False
    mixer: Mixer | None = None
    clip_norm: float = 0.0
    processes: Processes = field(default_factory=Processes)

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Add a batch's gradients and give (sum of its losses, images that were right)."""
        inputs, targets = batch.inputs.to(self.device), batch.targets.to(self.device)
        if self.mixer is not None:
            inputs, targets = self.mixer(inputs, targets)
        with self.mixed_precision.autocast(self.device):
            logits = self.model(inputs)
        total = self.loss(logits, targets)[: batch.counted].sum()
        # DDP averages over the processes; times their number, that is the mean over the images of
        # all processes and of all batches that the step is made of.
        mean = total * (self.processes.count / batch.step_images)
        self.scaler.scale(mean).backward()
        right = self._right(logits.detach(), targets)[: batch.counted].sum()
        return total.detach(), right

    def _right(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Say for each image whether it is right; of mixed images, the larger part counts."""
        if self.multi_label:
            return ((logits > 0) == (targets > 0.5)).all(1)
        return logits.argmax(1) == (targets if targets.ndim == 1 else targets.argmax(1))

    def update(self) -> None:
        """Change the weights by what the gradients say."""
        if self.clip_norm:
            self.scaler.unscale_(self.optimizer)
            trained = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(trained, self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()


def make_stepper(setup: Setup, optimizer: Optimizer) -> Stepper:
    """Return what makes the steps of a setup, through the whole classifier unless told otherwise."""
    settings = setup.settings
    return Stepper(
        model=setup.classifier,
        optimizer=optimizer,
        loss=setup.loss(),
        mixed_precision=setup.mixed_precision,
        scaler=setup.mixed_precision.scaler(setup.device),
        device=setup.device,
        multi_label=settings.task == "multi-label",
        mixer=make_mixer(settings, len(setup.dataset.classes)),
        clip_norm=settings.clip_norm,
        processes=setup.processes,
    )


def train_epoch(
    stepper: Stepper,
    batches: Iterator[Batch],
    count: int,
    *,
    accumulate: int,
    after_step: Callable[[], None],
    progress: ProgressReporter,
    label: str,
) -> EpochMetrics:
    """Train on each of `count` batches once; TrainingError when the loss is no longer a number."""
    loss_sum = torch.zeros((), device=stepper.device)
    right = torch.zeros((), device=stepper.device)
    counted = 0
    first: list[tuple[Tensor, int]] = []
    for index, batch in enumerate(progress.track(batches, label, count)):
        losses, hits = stepper.backward(batch)
        if (index + 1) % accumulate == 0 or index + 1 == count:
            stepper.update()
            after_step()
        loss_sum += losses
        right += hits
        counted += batch.counted
        if len(first) < START_STEPS:
            first.append((losses, batch.counted))
        if stepper.device.type == "cpu" or index % CHECK_EVERY == 0 or index + 1 == count:
            require_number(loss_sum.item(), label)
    sums = stepper.processes.sums(loss_sum.item(), right.item(), counted)
    return EpochMetrics(
        sums[0] / sums[2], sums[1] / sums[2], _step_losses(first, stepper.processes)
    )


@torch.inference_mode()
def predict_split(
    model: nn.Module,
    source: BatchSource,
    device: torch.device,
    progress: ProgressReporter,
    *,
    label: str,
    processes: Processes | None = None,
) -> Outputs:
    """Return the logits of a split; with several processes each image is computed once, by one."""
    processes = processes or Processes()
    model.eval()
    logits: list[Tensor] = []
    indices: list[int] = []
    for batch in progress.track(source.epoch(1), label, len(source)):
        logits.append(model(batch.inputs.to(device)).float().cpu()[: batch.counted])
        indices += batch.indices[: batch.counted]
    gathered = processes.gather((torch.cat(logits).numpy(), indices))
    order = np.argsort(np.concatenate([np.asarray(part, dtype=np.int64) for _, part in gathered]))
    rows = np.concatenate([rows for rows, _ in gathered])
    return Outputs(rows[order], labels_of(source.targets))


def _step_losses(first: list[tuple[Tensor, int]], processes: Processes) -> list[float]:
    """Return the mean losses of the first batches, over all processes."""
    gathered = processes.gather([(losses.item(), counted) for losses, counted in first])
    return [
        round(sum(losses for losses, _ in parts) / sum(counted for _, counted in parts), 6)
        for parts in zip(*gathered, strict=True)
    ]


def require_number(value: float, label: str) -> None:
    """Raise TrainingError where a loss is no number."""
    if not math.isfinite(value):
        raise TrainingError(
            f"the loss became {value} in {label}",
            hint="lower --lr-head and --lr-backbone, or clip gradients with --clip-norm 1.0",
        )
