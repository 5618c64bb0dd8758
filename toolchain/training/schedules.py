"""Optimisers and learning-rate schedules, built from the settings."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, ReduceLROnPlateau

from toolchain.training.models import Classifier
from toolchain.training.settings import FinetuneSettings


def make_optimizer(classifier: Classifier, settings: FinetuneSettings) -> Optimizer:
    """Give the optimiser over what is trainable, head and backbone at their own rates."""
    head: list[nn.Parameter] = []
    backbone: list[nn.Parameter] = []
    for name, parameter in classifier.network.named_parameters():
        if parameter.requires_grad:
            (head if name.startswith("fc.") else backbone).append(parameter)
    groups = [
        *_groups(head, settings.lr_head, settings.weight_decay),
        *_groups(backbone, settings.lr_backbone, settings.weight_decay),
    ]
    # One kernel for each step over all parameters: on two cores a third of the time for ResNet-18.
    if settings.optimizer == "sgd":
        return SGD(groups, momentum=settings.momentum, fused=True)
    optimizer = Adam if settings.optimizer == "adam" else AdamW
    return optimizer(groups, fused=True)


def rates(optimizer: Optimizer) -> list[float]:
    """Give the different learning rates in use, highest first."""
    return sorted({float(group["lr"]) for group in optimizer.param_groups}, reverse=True)


class Schedule:
    """Moves the rates: within the epochs for warm-up and cosine, after them for plateau."""

    def __init__(self, optimizer: Optimizer, settings: FinetuneSettings, steps: int) -> None:
        """`steps` are the batches of an epoch."""
        self.warmup_left = settings.warmup_epochs * steps
        self.warmup = (
            LinearLR(optimizer, 1 / (self.warmup_left + 1), total_iters=self.warmup_left)
            if self.warmup_left
            else None
        )
        self.cosine: CosineAnnealingLR | None = None
        self.plateau: ReduceLROnPlateau | None = None
        if settings.schedule == "cosine":
            falling = max(1, settings.t_max * steps - self.warmup_left)
            self.cosine = CosineAnnealingLR(optimizer, T_max=falling, eta_min=settings.eta_min)
        elif settings.schedule == "plateau":
            self.plateau = ReduceLROnPlateau(
                optimizer,
                mode="max",
                factor=settings.plateau_factor,
                patience=settings.plateau_patience,
            )

    def after_step(self) -> None:
        """Move on after a batch."""
        if self.warmup is not None and self.warmup_left:
            self.warmup_left -= 1
            self.warmup.step()
        elif self.cosine is not None:
            self.cosine.step()

    def after_epoch(self, accuracy: float) -> None:
        """Move on after an epoch with this validation accuracy."""
        if self.plateau is not None and not self.warmup_left:
            self.plateau.step(accuracy)


def _groups(
    parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
) -> list[dict[str, object]]:
    """Split into what decays and what does not: a norm or bias has one dimension or none."""
    parameters = list(parameters)
    decayed = [p for p in parameters if p.ndim > 1]
    free = [p for p in parameters if p.ndim <= 1]
    groups = [(decayed, weight_decay), (free, 0.0)]
    return [{"params": ps, "lr": lr, "weight_decay": decay} for ps, decay in groups if ps]
