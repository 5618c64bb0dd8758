"""Adversarial alignment: features by which a second network can't tell the domains apart.

Y. Ganin and others: Domain-Adversarial Training of Neural Networks, JMLR 17 (2016), arXiv
1505.07818.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

HIDDEN = 256
"""Width of the discriminator's hidden layer."""


def ramp(progress: float) -> float:
    """Return how much the alignment counts after a share of the training, 0…1, as in the article.

    >>> ramp(0.0), round(ramp(0.1), 3), round(ramp(1.0), 3)
    (0.0, 0.462, 1.0)
    """
    return 2 / (1 + math.exp(-10 * progress)) - 1


class _Reversal(torch.autograd.Function):
    """Returns its input, and turns the gradient round."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reversed_gradient(features: Tensor, strength: float) -> Tensor:
    """Return the features; the gradient that comes back is multiplied by -strength."""
    reverse: Any = _Reversal.apply
    result: Tensor = reverse(features, strength)
    return result


class Discriminator(nn.Module):
    """Computes of features float32 [images, features] a logit of each for being of the target."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits, float32 [images]."""
        logits: Tensor = self.layers(features)
        return logits.squeeze(1)


def domain_confusion(
    discriminator: Discriminator, source: Tensor, target: Tensor, strength: float
) -> Tensor:
    """Return the discriminator's mean cross entropy over both domains, in nats; a scalar.

    It learns to tell them apart; the features get its gradient reversed, times `strength`. Both
    domains count alike, however many rows they have.
    """
    features = reversed_gradient(torch.cat([source, target]), strength)
    logits = discriminator(features)
    of_source, of_target = logits[: len(source)], logits[len(source) :]
    loss = functional.binary_cross_entropy_with_logits
    return (
        loss(of_source, torch.zeros_like(of_source)) + loss(of_target, torch.ones_like(of_target))
    ) / 2
