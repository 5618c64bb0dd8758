"""The network whose features judge the labels: of a run, of a file, or ImageNet's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from toolchain.data.layouts import Dataset
from toolchain.errors import TrainingError
from toolchain.progress import ProgressReporter
from toolchain.runtime.card import Preprocessing

if TYPE_CHECKING:
    from toolchain.networks.resnet import Classifier

DEFAULT_ARCH = "resnet18"


class Backbone(NamedTuple):
    """A network whose features are used, and what it takes."""

    classifier: Classifier
    arch: str
    """torchvision's name of it."""
    preprocessing: Preprocessing
    origin: str


def has_default_weights() -> bool:
    """Return whether torch's cache has the ImageNet weights, found out without loading torch."""
    home = os.environ.get("TORCH_HOME")
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(home or Path(cache) / "torch") / "hub" / "checkpoints"
    return any(folder.glob(f"{DEFAULT_ARCH}-*.pth"))


def open_backbone(weights: str, run: str, dataset: Dataset, progress: ProgressReporter) -> Backbone:
    """Return the network of a run, or of weights as `rtl finetune --weights` takes them.

    Raises TrainingError, DataError or ModelFileError for what can't be used.
    """
    if run:
        from toolchain.runs.trained_run import TrainedRun

        trained = TrainedRun.open(run)
        return Backbone(
            trained.classifier,
            trained.card.architecture,
            trained.card.preprocessing,
            f"run {Path(run).name}",
        )
    from toolchain.networks.weights import architecture_of, start_classifier

    if weights == "none":
        raise TrainingError("random weights say nothing about labels", hint="--weights FILE")
    named = None if weights == "imagenet" else architecture_of(weights)
    arch = named or DEFAULT_ARCH  # start_classifier then says what does not fit
    classifier, origin = start_classifier(
        arch, dataset.classes, weights, dropout=0.0, progress=progress
    )
    return Backbone(classifier, arch, Preprocessing(), origin)
