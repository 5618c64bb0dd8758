"""Augmentation presets.

`s0`, `s1` and `s3` come from the source material, `turns` was designed for rtl, and `randaugment`
(Cubuk et al. 2020, arXiv 1909.13719) and `trivialaugment` (Müller and Hutter 2021, arXiv
2103.10158) are torchvision's.

Augmentation takes RGB images with their EXIF orientation applied, as preprocessing does, and
returns uint8 pixels of the network's input size.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolchain.networks.torchvision_import import import_torchvision
from toolchain.runs.settings import FinetuneSettings


class Augmentation:
    """Random transforms of an image; the random numbers come from torch's CPU generator."""

    def __init__(self, settings: FinetuneSettings) -> None:
        self.settings = settings
        self.takes_preprocessed = settings.augment == "turns"
        """Whether it takes the image after preprocessing; else as it was decoded."""
        v2 = import_torchvision().transforms.v2
        self._transform = v2.Compose(_preset(settings, v2))

    def __reduce__(self) -> tuple[type[Augmentation], tuple[FinetuneSettings]]:
        # Unpickled by its constructor: a spawned worker process must import torchvision by
        # import_torchvision before anything else does.
        return Augmentation, (self.settings,)

    def apply(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return an augmented view of the image, uint8 [size, size, 3]."""
        return np.asarray(self._transform(image))


def make_augmentation(settings: FinetuneSettings) -> Augmentation | None:
    """Return the augmentation of the preset; None for the preset `none`."""
    return None if settings.augment == "none" else Augmentation(settings)


def _preset(settings: FinetuneSettings, v2: Any) -> list[Any]:
    size = settings.size
    # The presets were published for 224 pixels; other sizes keep their proportions.
    wide = round(size * 300 / 224)
    if settings.augment == "turns":
        # The eight symmetries of a square, for subjects that have no top and bottom.
        turns = [v2.Identity(), *(v2.RandomRotation((angle, angle)) for angle in (90, 180, 270))]
        return [v2.RandomHorizontalFlip(0.5), v2.RandomChoice(turns)]
    if settings.augment in ("randaugment", "trivialaugment"):
        return _policy_preset(settings, v2)
    if settings.augment == "s3":
        return [
            v2.Resize(settings.resize_size),
            v2.RandomHorizontalFlip(0.5),
            v2.RandomRotation(15),
            v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            v2.CenterCrop(size),
        ]
    s0 = [
        v2.Resize([wide, wide]),
        v2.RandomRotation(45),
        v2.CenterCrop(size),
        v2.RandomHorizontalFlip(0.5),
        v2.RandomVerticalFlip(0.5),
    ]
    jitter = v2.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    return s0 if settings.augment == "s0" else [*s0, jitter]


def _policy_preset(settings: FinetuneSettings, v2: Any) -> list[Any]:
    policies = {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide}
    # With --preprocessing squash, resize_size may be smaller than the crop.
    short_side = max(settings.resize_size, settings.size)
    # torchvision's training scripts first crop 8 to 100 % of the image (RandomResizedCrop). In a
    # small data set such a crop misses the labelled object too often, and rescaling it hides the
    # size of a defect, which may determine its class. So the image keeps the scale that
    # preprocessing gives it, and the crop comes after the policy, to cut off some of the black
    # borders that rotation and translation leave.
    return [
        v2.Resize(short_side),
        policies[settings.augment](interpolation=v2.InterpolationMode.BILINEAR),
        v2.RandomHorizontalFlip(0.5),
        v2.RandomCrop(settings.size),
    ]
