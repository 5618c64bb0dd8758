"""One epoch of training, and one pass of evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from toolchain.errors import TrainingError
from toolchain.narrator import Narrator
from toolchain.training.models import Classifier
from toolchain.training.samples import Batch, batches
from toolchain.training.schedules import Schedule
from toolchain.training.settings import FinetuneSettings
from toolchain.training.strategies import set_training_mode


@dataclass(frozen=True)
class Pass:
    """Loss and accuracy over a split."""

    loss: float
    accuracy: float


@dataclass(frozen=True)
class Outputs:
    """What a classifier says about a split: logits [images, classes] and labels [images]."""

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """The share of images whose largest logit is their label's."""
        return float((self.logits.argmax(1) == self.labels).mean())

    def probabilities(self, temperature: float) -> NDArray[np.float32]:
        """Softmax of logits / temperature, float32 [images, classes]."""
        scaled = torch.from_numpy(self.logits) / temperature
        return torch.softmax(scaled, dim=1).numpy()

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts of images [true class, predicted class]."""
        classes = self.logits.shape[1]
        pairs = self.labels * classes + self.logits.argmax(1)
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    @property
    def loss(self) -> float:
        """Mean cross entropy, in nats."""
        logits = torch.from_numpy(self.logits)
        return float(nn.functional.cross_entropy(logits, torch.from_numpy(self.labels)))


def choose_device(name: str) -> torch.device:
    """Give the device; auto takes cuda, else mps, else cpu. TrainingError where it is missing."""
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        there = ", ".join(device for device, there in available.items() if there)
        raise TrainingError(
            f"device '{name}' is not available; this torch has: {there}", hint="--device auto"
        )
    return torch.device(name)


def train_epoch(
    classifier: Classifier,
    loader: DataLoader[Batch],
    optimizer: Optimizer,
    schedule: Schedule,
    settings: FinetuneSettings,
    narrator: Narrator,
    *,
    label: str,
) -> Pass:
    """Train on each batch once; TrainingError when the loss is no longer a number."""
    device = classifier.mean.device
    criterion = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    set_training_mode(classifier)
    loss_sum = correct = images = 0.0
    for pixels, labels in narrator.track(batches(loader), label, len(loader)):
        pixels, labels = pixels.to(device), labels.to(device)
        logits = classifier(pixels)
        loss = criterion(logits, labels)
        if not math.isfinite(value := loss.item()):
            raise TrainingError(
                f"the loss became {value} in {label}",
                hint="lower --lr-head and --lr-backbone, or clip gradients with --clip-norm 1.0",
            )
        optimizer.zero_grad()
        loss.backward()
        if settings.clip_norm:
            nn.utils.clip_grad_norm_(trained, settings.clip_norm)
        optimizer.step()
        schedule.after_step()
        images += len(labels)
        loss_sum += value * len(labels)
        correct += (logits.detach().argmax(1) == labels).sum().item()
    return Pass(loss_sum / images, correct / images)


@torch.inference_mode()
def predict_split(
    classifier: Classifier, loader: DataLoader[Batch], narrator: Narrator, *, label: str
) -> Outputs:
    """Give the logits of a split; the loader must not shuffle."""
    classifier.eval()
    device = classifier.mean.device
    logits, labels = [], []
    for pixels, truth in narrator.track(batches(loader), label, len(loader)):
        logits.append(classifier(pixels.to(device)).float().cpu())
        labels.append(truth)
    return Outputs(torch.cat(logits).numpy(), torch.cat(labels).numpy())
