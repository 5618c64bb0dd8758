"""Augmentation presets on upright RGB images.

`s0`, `s1` and `s3` come from the source material, `turns` is our own, and `randaugment` (Cubuk et
al. 2020, arXiv 1909.13719) and `trivialaugment` (Müller and Hutter 2021, arXiv 2103.10158) are
torchvision's.

A view is made from the same upright image as the clean view, and like it ends as uint8 pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from toolchain.networks.torchvision_import import import_torchvision
from toolchain.runs.settings import FinetuneSettings


class View:
    """A random view of an image."""

    def __init__(self, settings: FinetuneSettings) -> None:
        self.settings = settings
        self.of_clean = settings.augment == "turns"
        """True when it starts from the clean view's pixels, False when from the upright image."""
        transforms = import_torchvision().transforms.v2
        self._chain = transforms.Compose(_preset(settings, transforms))

    def __reduce__(self) -> tuple[type[View], tuple[FinetuneSettings]]:
        # A worker process that starts afresh must import torchvision in our way first.
        return View, (self.settings,)

    def make(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return a view as uint8 pixels [size, size, 3]."""
        return np.asarray(self._chain(image))


def augmented_view(settings: FinetuneSettings) -> View | None:
    """Return the preset's view; None when nothing is augmented."""
    return None if settings.augment == "none" else View(settings)


def _preset(settings: FinetuneSettings, t: Any) -> list[Any]:
    size = settings.size
    # The presets were published for 224 pixels; other sizes keep their proportions.
    wide = round(size * 300 / 224)
    if settings.augment == "turns":
        # The eight ways to lay a square down; for subjects without an upright of their own.
        turns = [t.Identity(), *(t.RandomRotation((angle, angle)) for angle in (90, 180, 270))]
        return [t.RandomHorizontalFlip(0.5), t.RandomChoice(turns)]
    if settings.augment in ("randaugment", "trivialaugment"):
        return _policy_preset(settings, t)
    if settings.augment == "s3":
        return [
            t.Resize(settings.resize_size),
            t.RandomHorizontalFlip(0.5),
            t.RandomRotation(15),
            t.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2),
            t.CenterCrop(size),
        ]
    s0 = [
        t.Resize([wide, wide]),
        t.RandomRotation(45),
        t.CenterCrop(size),
        t.RandomHorizontalFlip(0.5),
        t.RandomVerticalFlip(0.5),
    ]
    jitter = t.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    return s0 if settings.augment == "s0" else [*s0, jitter]


def _policy_preset(settings: FinetuneSettings, t: Any) -> list[Any]:
    policies = {"randaugment": t.RandAugment, "trivialaugment": t.TrivialAugmentWide}
    # With squash nothing keeps resize_size from being smaller than the crop.
    short_side = max(settings.resize_size, settings.size)
    # torchvision's training scripts crop 8 to 100 % of the image (RandomResizedCrop) and apply the
    # policy to that. A small data set can't afford crops that miss what the label names, and a
    # defect's size may tell its class. So the scale stays that of the clean view, and the crop
    # comes last, to cut off some of the black that the policy turns and shifts in.
    return [
        t.Resize(short_side),
        policies[settings.augment](interpolation=t.InterpolationMode.BILINEAR),
        t.RandomHorizontalFlip(0.5),
        t.RandomCrop(settings.size),
    ]
