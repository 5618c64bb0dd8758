"""MixUp and CutMix: each image of a batch is mixed with its neighbour, and so are their targets."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from toolchain.networks.torchvision_import import import_torchvision
from toolchain.runs.settings import FinetuneSettings

Mixer = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Pixels and targets of a batch, mixed.

Takes pixels uint8 [batch, size, size, 3], and targets as class indices int64 [batch] or shares
float32 [batch, classes]. Gives new pixels float32 of the same shape, in levels of 0…255, and shares
float32 [batch, classes].
"""


def make_mixer(settings: FinetuneSettings, classes: int) -> Mixer | None:
    """Return what mixes a batch; None where neither `mixup` nor `cutmix` is set.

    MixUp (Zhang et al. 2018, arXiv 1710.09412) adds λ of an image and 1 - λ of its neighbour, with
    λ from Beta(alpha, alpha). CutMix (Yun et al. 2019, arXiv 1905.04899) pastes a rectangle of
    about 1 - λ of the area from the neighbour, cut off at the border; targets go by the area really
    pasted. With both set each batch takes one of them, by even chance.

    The neighbour is the image before, so the batch must be shuffled. All that is random comes from
    torch's CPU generator, whatever the device: torch.manual_seed repeats it. The mixer raises
    ValueError where shares are not of `classes` classes.
    """
    if not settings.mixup and not settings.cutmix:
        return None
    v2 = import_torchvision().transforms.v2
    ways = []
    if settings.mixup:
        ways.append(v2.MixUp(alpha=settings.mixup, num_classes=classes))
    if settings.cutmix:
        ways.append(v2.CutMix(alpha=settings.cutmix, num_classes=classes))
    one_of_them = v2.RandomChoice(ways)

    def mix(pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        planes = pixels.permute(0, 3, 1, 2).to(torch.float32)
        mixed, shares = one_of_them(planes, targets)
        return mixed.permute(0, 2, 3, 1), shares

    return mix
