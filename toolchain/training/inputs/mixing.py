"""MixUp and CutMix: each image of a batch is mixed with the one before it, targets too."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from toolchain.networks.torchvision_import import import_torchvision
from toolchain.runs.settings import FinetuneSettings

Mixer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Mixes the images of a batch with each other, and their targets alike.

Takes pixels uint8 [batch, size, size, 3], and targets as class indices int64 [batch] or as class
probabilities float32 [batch, classes]. Returns new tensors: pixels float32 of the same shape, in
0…255, and class probabilities float32 [batch, classes].
"""


def make_mixer(settings: FinetuneSettings, classes: int) -> Mixer | None:
    """Return the mixer of the settings; None where neither `mixup` nor `cutmix` is set.

    MixUp (Zhang et al. 2018, arXiv 1710.09412) returns λ · image + (1 - λ) · other image, with λ
    from Beta(alpha, alpha). CutMix (Yun et al. 2019, arXiv 1905.04899) pastes a rectangle of the
    other image, about 1 - λ of the area and clipped at the border; targets are mixed by the area
    that was really pasted. With both set one of them mixes each batch, with equal probability.

    The other image is the one before it in the batch, so the batch must be shuffled. Random numbers
    come from torch's CPU generator on every device: torch.manual_seed repeats them. The mixer
    raises ValueError for class probabilities of another number of classes than `classes`.
    """
    if not settings.mixup and not settings.cutmix:
        return None
    v2 = import_torchvision().transforms.v2
    mixes = []
    if settings.mixup:
        mixes.append(v2.MixUp(alpha=settings.mixup, num_classes=classes))
    if settings.cutmix:
        mixes.append(v2.CutMix(alpha=settings.cutmix, num_classes=classes))
    random_mix = v2.RandomChoice(mixes)

    def mix(pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        channels_first = pixels.permute(0, 3, 1, 2).to(torch.float32)
        mixed, probabilities = random_mix(channels_first, targets)
        return mixed.permute(0, 2, 3, 1), probabilities

    return mix
