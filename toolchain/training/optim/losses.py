"""The losses: cross entropy, focal, and binary cross entropy, each with class weights.

Sources: label smoothing, Szegedy et al. 2016 (arXiv 1512.00567); focal loss, Lin et al. 2017
(arXiv 1708.02002); "balanced" class weights, scikit-learn's compute_class_weight; pos_weight,
torch's BCEWithLogitsLoss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from toolchain.runs.settings import FinetuneSettings

Loss = Callable[[Tensor, Tensor], Tensor]
"""From logits [batch, classes] and targets to one loss for each image, float32 [batch].

Targets are class indices, int64 [batch], or soft targets, float32 [batch, classes]: of an image
with one class they sum to 1, of a multi-label image each is in 0…1.
"""


def make_loss(settings: FinetuneSettings, counts: Sequence[int], images: int) -> Loss:
    """Return the loss that resolved settings ask for, in nats and not averaged over the images.

    `counts` is the number of training images of each class, `images` of all training images. The
    loss is computed in float32 from logits of any float type, under autocast too, on the device of
    the logits, where the targets must be too.

    Without `class_weights`, cross entropy and BCE equal torch's functions with reduction "none",
    BCE as the mean over the classes. With them, an image's cross entropy or focal loss is
    multiplied by the weight of its class, or for a soft target by the mean of the weights that the
    target gives. The weights average 1 over the training images, so a sum of losses is to be
    divided by the number of images. (torch's `weight` multiplies each class's term instead, those
    of label smoothing too, which pulls every image towards the rare classes.) For multi-label, the
    loss of the classes that an image has is multiplied by their pos_weight.
    """
    # With gamma 0 the focal factor is 1: plain cross entropy.
    gamma = settings.focal_gamma if settings.loss == "focal" else 0.0
    smoothing = settings.label_smoothing
    weighted = settings.class_weights
    if settings.task == "multi-label" or settings.loss == "bce":
        positive = _positive_weights(counts, images) if weighted else torch.ones(len(counts))
        return _sigmoid_loss(positive, smoothing, gamma)
    weights = _balanced_weights(counts, images) if weighted else torch.ones(len(counts))
    return _softmax_loss(weights, smoothing, gamma)


def _softmax_loss(weights: Tensor, smoothing: float, gamma: float) -> Loss:
    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        logits = logits.float()
        targets = _soft_targets(targets, logits)
        smoothed = targets * (1 - smoothing) + smoothing / logits.shape[1]
        entropy = nn.functional.cross_entropy(logits, smoothed, reduction="none")
        target_probability = (smoothed * logits.softmax(1)).sum(1)
        # Not a matrix product, which autocast would compute in half precision.
        weight = (targets * weights.to(logits.device)).sum(1)
        return _focal_factor(target_probability, gamma) * entropy * weight

    return loss


def _sigmoid_loss(positive_weights: Tensor, smoothing: float, gamma: float) -> Loss:
    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        logits = logits.float()
        targets = _soft_targets(targets, logits)
        # The weights apply to the targets before smoothing. Applied after it, the s/2 that
        # smoothing gives to an absent rare class would outweigh its absence: 0.05 × 99 > 0.95.
        present, absent = targets * positive_weights.to(logits.device), 1 - targets
        kept, moved = 1 - smoothing / 2, smoothing / 2
        entropy = -(
            (present * kept + absent * moved) * nn.functional.logsigmoid(logits)
            + (absent * kept + present * moved) * nn.functional.logsigmoid(-logits)
        )
        smoothed = targets * (1 - smoothing) + smoothing / 2
        probabilities = logits.sigmoid()
        target_probability = probabilities * smoothed + (1 - probabilities) * (1 - smoothed)
        return (_focal_factor(target_probability, gamma) * entropy).mean(1)

    return loss


def _soft_targets(targets: Tensor, logits: Tensor) -> Tensor:
    """Return targets as float32 [batch, classes]; class indices become one-hot."""
    if targets.ndim == 1:
        targets = nn.functional.one_hot(targets, logits.shape[1])
    return targets.float()


def _focal_factor(target_probability: Tensor, gamma: float) -> Tensor:
    """Return (1 - p_t)^gamma, where p_t is the probability of the target."""
    # Rounding can make p_t 1 or a little more, where a gamma below 1 has no finite gradient.
    return (1 - target_probability).clamp(min=torch.finfo(torch.float32).eps) ** gamma


def _balanced_weights(counts: Sequence[int], images: int) -> Tensor:
    """Return images / (classes × count) of each class: each class's images then weigh the same.

    As in scikit-learn, `classes` are those that have images.
    """
    classes = sum(count > 0 for count in counts)
    # The weight of a class without images is never used; it only has to be finite.
    return torch.tensor([images / (classes * count) if count else 1.0 for count in counts])


def _positive_weights(counts: Sequence[int], images: int) -> Tensor:
    """Return (images without the class) / (images with it): both sides then weigh the same.

    A class of no image, or of all, has no other side and gets 1. By the formula a class that every
    image has would get 0 and never be learnt.
    """
    return torch.tensor(
        [(images - count) / count if 0 < count < images else 1.0 for count in counts]
    )
