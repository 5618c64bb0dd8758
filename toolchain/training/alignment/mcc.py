"""Minimum class confusion: predictions for the target should not hesitate between two classes.

Y. Jin, X. Wang, M. Long, J. Wang: Minimum Class Confusion for Versatile Domain Adaptation, ECCV
2020, arXiv 1912.03699.
"""

from __future__ import annotations

import torch
from torch import Tensor

TEMPERATURE = 2.5
"""By which logits are divided, as in the article: it takes the certainty out of predictions."""


def class_confusion(logits: Tensor) -> Tensor:
    """Return the share of probability that classes have in common, 0…1; a scalar.

    `logits` are float32 [images, classes]. With Y the probabilities at TEMPERATURE, H the entropy
    of each row and w = images · (1 + exp(-H)) / sum of (1 + exp(-H)), the confusion matrix is
    C = Yᵀ · diag(w) · Y; its rows are divided by their sums, and what is off the diagonal is summed
    and divided by the number of classes.
    """
    probabilities = torch.softmax(logits / TEMPERATURE, dim=1)
    entropy = -(probabilities * torch.log(probabilities.clamp_min(1e-8))).sum(dim=1)
    certainty = 1 + torch.exp(-entropy.detach())
    weights = len(logits) * certainty / certainty.sum()
    confusion = probabilities.T @ (weights[:, None] * probabilities)
    confusion = confusion / confusion.sum(dim=1, keepdim=True)
    return (confusion.sum() - confusion.trace()) / len(confusion)
