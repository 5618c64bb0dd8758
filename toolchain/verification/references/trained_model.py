"""What a run folder offers for verification: the trained model and the user's own images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from toolchain.backends.backend import EagerBackend
from toolchain.data.layouts import Label
from toolchain.runs.runfolder import RunFolder
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import Floats, Pixels
from toolchain.verification.references.stored import evenly

MOST_IMAGES = 400


@dataclass(frozen=True, eq=False)
class Expected:
    """What the trained model makes of one image; it is the same for every file of a run."""

    pixels: Pixels
    """uint8 [size, size, 3], by torchvision."""
    probabilities: Floats
    logits: Floats


@dataclass(frozen=True)
class Workshop:
    """The trained model, and at most as many validation images as were asked for."""

    eager: EagerBackend
    names: list[str]
    paths: list[Path]
    """Spread over the classes."""
    labels: list[Label]
    training_paths: list[Path]
    """Training images for calibration, spread over the classes."""
    expected: dict[int, Expected] = field(default_factory=dict)
    """By the image's place, as it was found out: several files are verified in one go."""


def open_workshop(
    run: RunFolder,
    *,
    images: int = MOST_IMAGES,
    data: str | None = None,
    size: int | None = None,
) -> Workshop:
    """Give the trained model of a run and its validation images.

    `size` is the side in pixels that the network is to see, where it is not that of training.
    Raises DataError where the images are not where they were and `data` doesn't say where.
    """
    from toolchain.evaluation.evaluate import (
        known_unreadable,
        load_run_classifier,
        run_dataset,
        run_settings,
    )

    dataset = run_dataset(run, run_settings(run), data)
    unreadable = known_unreadable(run)
    readable = {
        split: [s for s in samples if dataset.name_of(s.path) not in unreadable]
        for split, samples in (("val", dataset.val), ("train", dataset.train))
    }
    paths = evenly([s.path for s in readable["val"]], images)
    label_of = {s.path: s.label for s in readable["val"]}
    return Workshop(
        eager=EagerBackend(load_run_classifier(run), resized(run.read_card(), size)),
        names=[dataset.name_of(path) for path in paths],
        paths=paths,
        labels=[label_of[path] for path in paths],
        training_paths=[s.path for s in readable["train"]],
    )


def resized(card: Card, size: int | None) -> Card:
    """Give the card for another image size; what was measured at the old one is dropped.

    The short side after the resize keeps its proportion to the crop.
    """
    old = card.preprocessing
    if size is None or size == old.size:
        return card
    new = msgspec.structs.replace(
        old, size=size, resize_size=max(size, round(size * old.resize_size / old.size))
    )
    return msgspec.structs.replace(card, preprocessing=new, trained_size=old.size, metrics=None)
