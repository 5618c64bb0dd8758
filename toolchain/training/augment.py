"""Augmentation presets of the source material, on upright RGB images.

A view is made from the same upright image as the clean view, and like it ends as uint8 pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from toolchain.training.settings import FinetuneSettings
from toolchain.training.torchvision_import import import_torchvision

View = Callable[[Image.Image], NDArray[np.uint8]]


def augmented_view(settings: FinetuneSettings) -> View | None:
    """Give the preset's way from an upright image to pixels; None when nothing is augmented."""
    if settings.augment == "none":
        return None
    transforms = import_torchvision().transforms.v2
    chain = transforms.Compose(_preset(settings, transforms))

    def view(image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(chain(image))

    return view


def seed_view(seed: int, epoch: int, index: int) -> None:
    """Seed torch's generator for one view of one image.

    A view depends on these three alone, so the number of worker processes changes nothing.
    """
    mixed = np.random.SeedSequence((seed, epoch, index)).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(mixed))


def _preset(settings: FinetuneSettings, t: Any) -> list[Any]:
    size = settings.size
    # The presets were published for 224 pixels; other sizes keep their proportions.
    wide = round(size * 300 / 224)
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
