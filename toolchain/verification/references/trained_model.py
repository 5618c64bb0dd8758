"""The trained model of a run and its validation images: what the run's files are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from toolchain.backends.torch_eager import EagerBackend
from toolchain.data.layouts import Label
from toolchain.runs.sampling import evenly
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.model_inputs import Floats, Pixels
from toolchain.verification.levels.card import card_at_size

MOST_IMAGES = 400
"""Validation images that are compared by default."""


@dataclass(frozen=True, eq=False)
class ReferenceImage:
    """The trained model's pixels and outputs of one image."""

    pixels: Pixels
    """uint8 [size, size, 3], by torchvision."""
    probabilities: Floats
    logits: Floats


@dataclass(frozen=True)
class TrainedReference:
    """The trained model, and at most as many validation images as were asked for."""

    eager: EagerBackend
    names: list[str]
    paths: list[Path]
    """Spread over the classes."""
    labels: list[Label]
    training_paths: list[Path]
    """Training images for calibration, spread over the classes."""
    weights_sha256: str | None = None
    """Digest of the run's weights file as it is now."""
    evaluated: float | None = None
    """When the run was last evaluated, in seconds since 1970; None where it was not."""
    training_labels: dict[Path, int] = field(default_factory=dict)
    """Training image → its class; empty for multi-label."""
    computed: dict[int, ReferenceImage] = field(default_factory=dict)
    """By the image's index, filled while files are compared: it is the same for every file."""


def open_trained_reference(
    run: TrainedRun, *, images: int = MOST_IMAGES, size: int | None = None
) -> TrainedReference:
    """Open the trained model of a run and choose up to `images` of its validation images.

    `size` is the side in pixels of the network's input, where it is not that of training. Raises
    DataError where the images were moved and `run.data` does not name their new folder.
    """
    readable, training = run.readable("val"), run.readable("train")
    paths = evenly([sample.path for sample in readable], images)
    label_of = {sample.path: sample.label for sample in readable}
    return TrainedReference(
        eager=EagerBackend(run.classifier, card_at_size(run.card, size)),
        names=[run.dataset.name_of(path) for path in paths],
        paths=paths,
        labels=[label_of[path] for path in paths],
        training_paths=[sample.path for sample in training],
        training_labels={s.path: s.label for s in training if isinstance(s.label, int)},
        weights_sha256=run.stored_sha256,
        evaluated=run.evaluated_at,
    )
