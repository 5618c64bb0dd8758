"""Optimisers and learning-rate schedules, built from the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from toolchain.training.models import Classifier
from toolchain.training.settings import FinetuneSettings

Step = Callable[[float], None]
"""Called after each epoch with the validation accuracy."""


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
    if settings.optimizer == "sgd":
        return SGD(groups, momentum=settings.momentum)
    return Adam(groups) if settings.optimizer == "adam" else AdamW(groups)


def rates(optimizer: Optimizer) -> list[float]:
    """Give the different learning rates in use, highest first."""
    return sorted({float(group["lr"]) for group in optimizer.param_groups}, reverse=True)


def make_schedule(optimizer: Optimizer, settings: FinetuneSettings) -> Step:
    """Give the function that moves the rates on after an epoch."""
    if settings.schedule == "plateau":
        plateau = ReduceLROnPlateau(
            optimizer,
            mode="max",
            factor=settings.plateau_factor,
            patience=settings.plateau_patience,
        )
        return plateau.step
    if settings.schedule == "cosine":
        cosine = CosineAnnealingLR(optimizer, T_max=settings.t_max, eta_min=settings.eta_min)
        return lambda accuracy: cosine.step()
    return lambda accuracy: None


def _groups(
    parameters: Iterable[nn.Parameter], lr: float, weight_decay: float
) -> list[dict[str, object]]:
    """Split into what decays and what does not: a norm or bias has one dimension or none."""
    parameters = list(parameters)
    decayed = [p for p in parameters if p.ndim > 1]
    free = [p for p in parameters if p.ndim <= 1]
    groups = [(decayed, weight_decay), (free, 0.0)]
    return [{"params": ps, "lr": lr, "weight_decay": decay} for ps, decay in groups if ps]
