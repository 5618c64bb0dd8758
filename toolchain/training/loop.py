"""One training step, one epoch of training, and one pass of evaluation."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toolchain.errors import TrainingError
from toolchain.metrics.outputs import Outputs
from toolchain.progress import ProgressReporter, track_images
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.alignment.aligner import Aligner
from toolchain.training.analysis.remedies import against_instability
from toolchain.training.distributed import Processes
from toolchain.training.inputs.mixing import Mixer, make_mixer
from toolchain.training.inputs.resizing import resized
from toolchain.training.inputs.samples import Batch, BatchSource, labels_of
from toolchain.training.optim.losses import Loss
from toolchain.training.optim.precision import MixedPrecision
from toolchain.training.setup import Setup

STEPS_BETWEEN_LOSS_CHECKS = 10
"""On a GPU the loss is checked once in this many steps: each check waits for the GPU."""
START_STEPS = 20
"""Steps of an epoch whose losses are recorded; an unstable start shows in them."""


@dataclass(frozen=True)
class EpochMetrics:
    """Mean loss (nats) and accuracy (0…1) over an epoch's training images.

    They are measured during training, on augmented and mixed images, before each update.
    """

    loss: float
    accuracy: float
    step_losses: list[float]
    """Mean losses of the first batches."""


@dataclass
class Stepper:
    """Performs training steps: forward and backward passes, then the optimiser's update."""

    model: nn.Module
    optimizer: Optimizer
    loss: Loss
    mixed_precision: MixedPrecision
    scaler: torch.amp.GradScaler
    device: torch.device
    multi_label: bool = False
    mixer: Mixer | None = None
    clip_norm: float = 0.0
    """Largest norm of the gradients; 0 does not clip."""
    processes: Processes = field(default_factory=Processes)
    image_size: int | None = None
    """Side that images are reduced to, in pixels; None takes them, or features, as they are."""
    aligner: Aligner | None = None
    """Adds the loss of another camera's images."""

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Add a batch's gradients; return the sum of its losses and its correct images."""
        inputs, targets = batch.inputs.to(self.device), batch.targets.to(self.device)
        if self.image_size is not None:
            inputs = resized(inputs, self.image_size)
        if self.mixer is not None:
            inputs, targets = self.mixer(inputs, targets)
        own_pass = self.aligner.source_pass() if self.aligner else contextlib.nullcontext()
        with self.mixed_precision.autocast(self.device), own_pass:
            logits = self.model(inputs)
        loss_sum = self.loss(logits, targets)[: batch.counted].sum()
        # DDP averages the gradients over the processes. Multiplied by their number, the result is
        # the mean over the images of the whole step: of all processes and accumulated batches.
        mean = loss_sum * (self.processes.count / batch.step_images)
        if self.aligner is not None:
            mean = mean + self.aligner.loss(self.model) * (batch.counted / batch.step_images)
        self.scaler.scale(mean).backward()
        correct = self._correct(logits.detach(), targets)[: batch.counted].sum()
        return loss_sum.detach(), correct

    def _correct(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return which images are right, bool [batch]; a mixed image's class is its larger part."""
        if self.multi_label:
            return ((logits > 0) == (targets > 0.5)).all(1)
        return logits.argmax(1) == (targets if targets.ndim == 1 else targets.argmax(1))

    def update(self) -> None:
        """Update the weights by the accumulated gradients, clipped where asked for."""
        if self.clip_norm:
            self.scaler.unscale_(self.optimizer)
            parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
            nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()


def make_stepper(setup: Setup, optimizer: Optimizer, aligner: Aligner | None = None) -> Stepper:
    """Return the stepper of a setup; its model is the whole classifier."""
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
        aligner=aligner,
    )


def train_epoch(
    stepper: Stepper,
    batches: Iterator[Batch],
    count: int,
    *,
    settings: FinetuneSettings,
    images_in_epoch: int,
    after_step: Callable[[], None],
    progress: ProgressReporter,
    label: str,
) -> EpochMetrics:
    """Train on each of `count` batches once, with an update after as many as the settings say.

    The progress is shown in images, of which an epoch has `images_in_epoch` in all processes.

    `after_step` is called after each update. Raises TrainingError when the loss becomes NaN or
    infinite.
    """
    loss_sum = torch.zeros((), device=stepper.device)
    correct_sum = torch.zeros((), device=stepper.device)
    images = 0
    first: list[tuple[Tensor, int]] = []
    shown = track_images(
        progress,
        batches,
        f"{label}, images",
        images_in_epoch,
        lambda batch: batch.counted * stepper.processes.count,
    )
    for index, batch in enumerate(shown):
        batch_loss, batch_correct = stepper.backward(batch)
        is_last = index + 1 == count
        if (index + 1) % settings.accumulate == 0 or is_last:
            stepper.update()
            after_step()
        loss_sum += batch_loss
        correct_sum += batch_correct
        images += batch.counted
        if len(first) < START_STEPS:
            first.append((batch_loss, batch.counted))
        if stepper.device.type == "cpu" or index % STEPS_BETWEEN_LOSS_CHECKS == 0 or is_last:
            require_finite_loss(loss_sum.item(), label, settings)
    loss, correct, total = stepper.processes.sums(loss_sum.item(), correct_sum.item(), images)
    return EpochMetrics(loss / total, correct / total, _step_losses(first, stepper.processes))


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
    """Return the logits and labels of a split, in its order.

    Of several processes each computes its own part of the images; all return the whole.
    """
    processes = processes or Processes()
    model.eval()
    logits: list[Tensor] = []
    indices: list[int] = []
    shown = track_images(
        progress,
        source.epoch(1),
        f"{label} images",
        len(source.samples),
        lambda batch: batch.counted * processes.count,
    )
    for batch in shown:
        logits.append(model(batch.inputs.to(device)).float().cpu()[: batch.counted])
        indices += batch.indices[: batch.counted]
    gathered = processes.gather((torch.cat(logits).numpy(), indices))
    order = np.argsort(np.concatenate([np.asarray(part, dtype=np.int64) for _, part in gathered]))
    rows = np.concatenate([rows for rows, _ in gathered])
    return Outputs(rows[order], labels_of(source.targets))


def _step_losses(first: list[tuple[Tensor, int]], processes: Processes) -> list[float]:
    """Return the mean losses of the first batches, over all processes."""
    gathered = processes.gather([(loss_sum.item(), images) for loss_sum, images in first])
    return [
        round(sum(loss_sum for loss_sum, _ in parts) / sum(images for _, images in parts), 6)
        for parts in zip(*gathered, strict=True)
    ]


def require_finite_loss(loss: float, label: str, settings: FinetuneSettings) -> None:
    """Raise TrainingError where a loss is NaN or infinite, with settings that may prevent it."""
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss became {loss} in {label}", hint=against_instability(settings)
        )
