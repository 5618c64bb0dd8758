"""Optimisers and learning-rate schedules, built from the settings."""

from __future__ import annotations

from typing import Any

from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
)

from toolchain.networks.resnet import Classifier
from toolchain.networks.split import STAGES
from toolchain.runs.settings import FinetuneSettings

ONE_CYCLE_MIN_STEPS = 2
"""Fewest steps in which one-cycle can rise; a run with no more steps than that keeps its rates."""


def make_optimizer(classifier: Classifier, settings: FinetuneSettings) -> Optimizer:
    """Return the optimiser over all parameters that require a gradient now.

    Head and backbone have learning rates of their own. With `layer_decay` the rate of each stage is
    that share of the next stage's (Howard and Ruder 2018, discriminative fine-tuning).
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in classifier.network.named_parameters():
        if not parameter.requires_grad:
            continue
        # No weight decay for norms and biases, which are the parameters of one dimension.
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        rate = _rate(name, settings)
        group = groups.setdefault((rate, decay), {"params": [], "lr": rate, "weight_decay": decay})
        group["params"].append(parameter)
    ordered = list(groups.values())
    # Fused: one kernel updates all parameters. For ResNet-18 on two cores, a third of the time.
    if settings.optimizer == "sgd":
        return SGD(ordered, momentum=settings.momentum, fused=True)
    optimizer = Adam if settings.optimizer == "adam" else AdamW
    return optimizer(ordered, fused=True)


def learning_rates(optimizer: Optimizer) -> list[float]:
    """Return the distinct learning rates of the parameter groups, highest first."""
    return sorted({float(group["lr"]) for group in optimizer.param_groups}, reverse=True)


class Schedule:
    """Changes the learning rates.

    After each step for warm-up, cosine and one-cycle; after each epoch for step and plateau.
    """

    def __init__(self, optimizer: Optimizer, settings: FinetuneSettings, steps: int) -> None:
        """`steps` is the number of optimiser steps in an epoch."""
        self.warmup_left = settings.warmup_epochs * steps
        self.warmup = (
            LinearLR(optimizer, 1 / (self.warmup_left + 1), total_iters=self.warmup_left)
            if self.warmup_left
            else None
        )
        self.each_step: LRScheduler | None = None
        self.each_epoch: LRScheduler | None = None
        self.plateau: ReduceLROnPlateau | None = None
        if settings.schedule == "cosine":
            decay_steps = max(1, settings.t_max * steps - self.warmup_left)
            self.each_step = CosineAnnealingLR(
                optimizer, T_max=decay_steps, eta_min=settings.eta_min
            )
        elif settings.schedule == "one-cycle" and settings.epochs * steps > ONE_CYCLE_MIN_STEPS:
            total = settings.epochs * steps
            self.each_step = OneCycleLR(
                optimizer,
                max_lr=[group["lr"] for group in optimizer.param_groups],
                total_steps=total,
                # torch divides by the steps of the rise minus one.
                pct_start=max(settings.cycle_warmup, ONE_CYCLE_MIN_STEPS / total),
                # The momentum of the settings stays.
                cycle_momentum=False,
            )
        elif settings.schedule == "step":
            self.each_epoch = StepLR(optimizer, settings.step_epochs, settings.step_factor)
        elif settings.schedule == "plateau":
            self.plateau = ReduceLROnPlateau(
                optimizer,
                mode="max",
                factor=settings.plateau_factor,
                patience=settings.plateau_patience,
                # torch's default threshold is relative: with the negated loss as score, an
                # unchanged loss would count as a gain.
                threshold=0.0,
            )

    def after_step(self) -> None:
        """Advance after a step of the optimiser."""
        if self.warmup is not None and self.warmup_left:
            self.warmup_left -= 1
            self.warmup.step()
        elif self.each_step is not None:
            self.each_step.step()

    def after_epoch(self, score: float) -> None:
        """Advance after an epoch with this validation score (higher is better)."""
        if self.warmup_left:
            return
        if self.plateau is not None:
            self.plateau.step(score)
        if self.each_epoch is not None:
            self.each_epoch.step()

    def state(self) -> dict[str, Any]:
        """Return everything that changes, as values that fit into JSON."""
        return {"warmup_left": self.warmup_left} | {
            name: scheduler.state_dict() for name, scheduler in self._schedulers().items()
        }

    def load(self, state: dict[str, Any]) -> None:
        """Restore such a state; the rates themselves are in the optimiser's state."""
        self.warmup_left = state["warmup_left"]
        for name, scheduler in self._schedulers().items():
            scheduler.load_state_dict(state[name])

    def _schedulers(self) -> dict[str, LRScheduler | ReduceLROnPlateau]:
        named = {
            "warmup": self.warmup,
            "each_step": self.each_step,
            "each_epoch": self.each_epoch,
            "plateau": self.plateau,
        }
        return {name: scheduler for name, scheduler in named.items() if scheduler is not None}


def _rate(parameter_name: str, settings: FinetuneSettings) -> float:
    """Return the base learning rate of a parameter by its stage; the stem counts as a stage."""
    part = parameter_name.partition(".")[0]
    if part == "fc":
        return settings.lr_head
    depth = len(STAGES) - (STAGES.index(part) + 1 if part in STAGES else 0)
    return settings.lr_backbone * settings.layer_decay**depth
