"""What a run folder offers for verification: the trained model and the user's own images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from toolchain.backends.torch_eager import EagerBackend
from toolchain.data.layouts import Label
from toolchain.runs.sampling import evenly
from toolchain.runs.trained_run import TrainedRun
from toolchain.runtime.model_inputs import Floats, Pixels
from toolchain.verification.levels.card import resized

MOST_IMAGES = 400


@dataclass(frozen=True, eq=False)
class Expected:
    """What the trained model makes of one image; it is the same for every file of a run."""

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
    expected: dict[int, Expected] = field(default_factory=dict)
    """By the image's place, as it was found out: several files are verified in one go."""


def open_trained_reference(
    run: TrainedRun, *, images: int = MOST_IMAGES, size: int | None = None
) -> TrainedReference:
    """Return the trained model of a run and its validation images.

    `size` is the side in pixels that the network is to see, where it is not that of training.
    Raises DataError where the images are not where they were and `run.data` doesn't say where.
    """
    readable = run.readable("val")
    paths = evenly([sample.path for sample in readable], images)
    label_of = {sample.path: sample.label for sample in readable}
    return TrainedReference(
        eager=EagerBackend(run.classifier, resized(run.card, size)),
        names=[run.dataset.name_of(path) for path in paths],
        paths=paths,
        labels=[label_of[path] for path in paths],
        training_paths=[sample.path for sample in run.readable("train")],
    )
