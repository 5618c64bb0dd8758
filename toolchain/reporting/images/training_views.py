"""Some training images as the network sees them: preprocessed, and augmented as in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolchain.data.layouts import Sample
from toolchain.errors import ToolchainError
from toolchain.reporting.images.pictures import Pictures
from toolchain.reporting.reading.sources import RunFiles

IMAGES = 8
AUGMENTED = 3
"""Augmented views of each image."""
SIDE = 120


@dataclass(frozen=True)
class TrainingView:
    """One training image: its class, what evaluation and devices see, what training saw."""

    label: str
    clean: str | None
    augmented: list[str | None]


def training_views(files: RunFiles, pictures: Pictures) -> tuple[list[TrainingView], str]:
    """Return (views of some training images of different classes, why there are none)."""
    from toolchain.training.inputs.augment import make_augmentation
    from toolchain.training.inputs.samples import augmented_pixels, clean_pixels

    try:
        dataset = files.run.dataset
        augmentation = make_augmentation(files.settings)
    except ToolchainError as error:
        return [], str(error)
    views = []
    for number, sample in enumerate(spread_over_classes(dataset.train, len(dataset.classes))):
        try:
            clean = clean_pixels(sample, files.card.preprocessing)
            altered = [
                augmented_pixels(
                    augmentation,
                    sample,
                    files.card.preprocessing,
                    (files.settings.seed, epoch, number),
                    clean,
                )
                for epoch in range(1, AUGMENTED + 1)
                if augmentation is not None
            ]
        except ToolchainError:  # one that is damaged, or gone
            continue
        label = ", ".join(dataset.classes[index] for index in sample.labels) or "none"
        shown = [pictures.picture(pixels, SIDE) for pixels in altered]
        views.append(TrainingView(label, pictures.picture(clean, SIDE), shown))
    return views, "" if views else "no training image can be read"


def spread_over_classes(samples: tuple[Sample, ...], classes: int) -> list[Sample]:
    """Return at most IMAGES samples, of as many classes as possible, in their order."""
    chosen: list[Sample] = []
    for wanted in np.unique(np.linspace(0, classes - 1, min(IMAGES, classes)).round().astype(int)):
        own = [s for s in samples if int(wanted) in s.labels and s not in chosen]
        chosen += own[: max(1, IMAGES // classes)]
    return chosen[:IMAGES]
