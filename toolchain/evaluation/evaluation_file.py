"""What evaluation.json holds of an evaluation, of this rtl or an older one."""

from __future__ import annotations

import msgspec

from toolchain.evaluation.image_results import ImageResult
from toolchain.metrics.per_class import ClassMetrics
from toolchain.runtime.card import Task


class EvaluationFile(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics of a run on one split, in 0…1 except the loss; the keys are those of docs/json.md.

    Keys that came later have defaults.
    """

    version: int = 1
    run: str = ""
    task: Task = "single-label"
    split: str
    """train, val or test; all for a folder of classes given as `data`."""
    images: int
    data: str = ""
    """Where the images are."""
    data_sha256: str = ""
    """sha256 over split, label and content of these images."""
    as_trained: bool | None = None
    """Whether the split had the same images and labels at training; None where that is unknown."""
    weights_sha256: str = ""
    """Digest of the weights that were evaluated."""
    accuracy: float
    """The share of images that are right; multi-label: in all classes."""
    accuracy_interval: tuple[float, float]
    """95 % Wilson interval."""
    macro_f1: float
    """Mean F1 over the classes that the split has images of."""
    auc: float | None = None
    """Area under the ROC curve, mean over the classes; None where no class has one."""
    loss: float
    """Mean cross entropy in nats; multi-label: binary, over images and classes."""
    calibration_error: float | None = None
    """Expected calibration error at the temperature of the card."""
    threshold: float | None = None
    """Multi-label: the probability from which a class counts as predicted."""
    per_class: list[ClassMetrics]
    confusion: list[list[int]] = []
    """Numbers of images [true class][predicted class], in the order of `per_class`; empty for
    multi-label, where an image has any number of both."""
    results: list[ImageResult]
