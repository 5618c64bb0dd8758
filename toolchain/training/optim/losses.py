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
"""One loss for each image, float32 [batch], of logits [batch, classes] and targets.

Targets are class indices, int64 [batch], or shares of the classes, float32 [batch, classes]: for
single-label they sum to 1, for multi-label each is between 0 and 1.
"""


def make_loss(settings: FinetuneSettings, counts: Sequence[int], images: int) -> Loss:
    """Return the loss that resolved settings ask for, in nats and not yet averaged.

    `counts` says how many of the `images` for training have each class. Logits of any float type
    are computed with as float32, under autocast too, on their device; targets must be on the same.

    Without class_weights, cross-entropy and bce equal torch's functions with reduction "none" (bce:
    the mean over the classes). With them, an image's cross entropy or focal loss is multiplied by
    the weight of its class, or by the target's mean of the weights. These average 1 over the
    training images, so divide a sum of losses by the number of images. (torch's `weight` multiplies
    each class's term instead, smoothing's terms too, which pulls every image to the rare classes.)
    For multi-label the loss of what is there is multiplied by the class's pos_weight.
    """
    # A well classified image keeps its whole weight where gamma is 0, so that is plain entropy.
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
        shares = _shares(targets, logits)
        smoothed = shares * (1 - smoothing) + smoothing / logits.shape[1]
        entropy = nn.functional.cross_entropy(logits, smoothed, reduction="none")
        right = (smoothed * logits.softmax(1)).sum(1)
        # No matrix product: autocast would do it in half precision.
        weight = (shares * weights.to(logits.device)).sum(1)
        return _focus(right, gamma) * entropy * weight

    return loss


def _sigmoid_loss(positive_weights: Tensor, smoothing: float, gamma: float) -> Loss:
    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        logits = logits.float()
        shares = _shares(targets, logits)
        # Weighted by what the image really has. Weighted after smoothing, the half share s/2 that
        # an absent rare class is given would outweigh its absence: 0.05 × 99 against 0.95.
        there, absent = shares * positive_weights.to(logits.device), 1 - shares
        kept, moved = 1 - smoothing / 2, smoothing / 2
        entropy = -(
            (there * kept + absent * moved) * nn.functional.logsigmoid(logits)
            + (absent * kept + there * moved) * nn.functional.logsigmoid(-logits)
        )
        smoothed = shares * (1 - smoothing) + smoothing / 2
        probabilities = logits.sigmoid()
        right = probabilities * smoothed + (1 - probabilities) * (1 - smoothed)
        return (_focus(right, gamma) * entropy).mean(1)

    return loss


def _shares(targets: Tensor, logits: Tensor) -> Tensor:
    """Return targets as float32 [batch, classes]."""
    if targets.ndim == 1:
        targets = nn.functional.one_hot(targets, logits.shape[1])
    return targets.float()


def _focus(right: Tensor, gamma: float) -> Tensor:
    """Return (1 - p_t)^gamma of p_t, the probability of the target; of a soft one, its mean."""
    # Rounding can make p_t 1 or a little more, where a gamma below 1 has no finite slope.
    return (1 - right).clamp(min=torch.finfo(torch.float32).eps) ** gamma


def _balanced_weights(counts: Sequence[int], images: int) -> Tensor:
    """Return images / (classes × count), so that the weights of each class's images sum to the same.

    As in scikit-learn only classes with images are counted.
    """
    classes = sum(count > 0 for count in counts)
    # A class without an image weighs on none; it only has to be a number.
    return torch.tensor([images / (classes * count) if count else 1.0 for count in counts])


def _positive_weights(counts: Sequence[int], images: int) -> Tensor:
    """Return (images without the class) / (images with it), so that both sum to the same.

    A class that no image has, or all have, has nothing to be weighed against and keeps 1; by the
    formula, what every image has would count 0 and never be learnt.
    """
    return torch.tensor(
        [(images - count) / count if 0 < count < images else 1.0 for count in counts]
    )
