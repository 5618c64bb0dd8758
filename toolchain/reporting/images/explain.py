"""Explain answers by pictures: what the network sees, what speaks for a class, what is similar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from toolchain.data.layouts import Sample
from toolchain.errors import ToolchainError
from toolchain.progress import ProgressReporter
from toolchain.reporting.images.mistakes import Mistake
from toolchain.reporting.images.pictures import Pictures
from toolchain.reporting.reading.sources import RunFiles
from toolchain.reporting.reading.stored_evaluation import StoredEvaluation

if TYPE_CHECKING:
    from toolchain.networks.resnet import Classifier
    from toolchain.reporting.images.neighbours import TrainingImages

VIEW_SIDE = 168
"""Side of the pictures of an explained image, in pixels."""


@dataclass
class Explanation:
    """The pictures of one image; a picture is a data URI, or None where it was left out."""

    view: str | None = None
    """What the network sees: after resizing and cropping."""
    maps: list[tuple[str, str, str | None]] = field(default_factory=list)
    """(class, "answer" or "label", the view with the class's map laid over it)."""
    similar: list[tuple[str, str | None]] = field(default_factory=list)
    """(label, picture) of the nearest training images."""


@dataclass
class Explanations:
    """The explanations of the chosen images, by their row in the evaluation."""

    by_row: dict[int, Explanation] = field(default_factory=dict)
    compared: int = 0
    """Training images that were compared; 0 where there are no similar ones."""
    total: int = 0
    """Training images of the run."""
    notes: list[str] = field(default_factory=list)
    """Why something is missing."""


def explain(
    files: RunFiles,
    evaluation: StoredEvaluation,
    mistakes: Sequence[Mistake],
    path_of: Callable[[str], Path],
    pictures: Pictures,
    progress: ProgressReporter,
) -> Explanations:
    """Return the explanations of these images, and give each its nearest training images.

    `path_of` returns the path of an image by its name in the evaluation. Where the weights or the
    training images can't be read, that part is missing and a note says why.
    """
    from toolchain.reporting.images.activation import activations, overlaid

    found = Explanations()
    by_row = {mistake.row: mistake for mistake in mistakes}
    views = _views(files, evaluation, list(by_row), path_of)
    classifier = _classifier(files, found) if views else None
    if classifier is None:
        found.by_row = {r: Explanation(pictures.picture(v, VIEW_SIDE)) for r, v in views.items()}
        return found
    training = _training_images(files, found, progress)
    seen = activations(classifier, views.values())
    for (row, pixels), activation in zip(views.items(), seen, strict=True):
        explanation = Explanation(pictures.picture(pixels, VIEW_SIDE))
        for number, role in shown_classes(evaluation, row):
            overlay = pictures.picture(overlaid(pixels, activation.maps[number]), VIEW_SIDE)
            explanation.maps.append((evaluation.classes[number], role, overlay))
        if training is not None:
            by_row[row].neighbours = training.nearest(activation.features)
            for near in by_row[row].neighbours:
                thumbnail = pictures.thumbnail(training.samples[near.sample].path)
                explanation.similar.append((", ".join(near.labels) or "none", thumbnail))
        found.by_row[row] = explanation
    return found


def _views(
    files: RunFiles,
    evaluation: StoredEvaluation,
    rows: Sequence[int],
    path_of: Callable[[str], Path],
) -> dict[int, NDArray[np.uint8]]:
    """Return the preprocessed pixels of the images that can be read, by their rows."""
    from toolchain.reporting.images.neighbours import readable_pixels

    views = {}
    for row in rows:
        sample = Sample(path_of(evaluation.file.results[row].file), 0)
        pixels = readable_pixels(sample, files.card.preprocessing)
        if pixels is not None:
            views[row] = pixels
    return views


def _classifier(files: RunFiles, found: Explanations) -> Classifier | None:
    """Return the trained network; where it can't be loaded, note why and return None."""
    try:
        return files.run.classifier
    except ToolchainError as error:
        found.notes.append(f"activation maps: {error}")
        return None


def _training_images(
    files: RunFiles, found: Explanations, progress: ProgressReporter
) -> TrainingImages | None:
    """Return the training images; where they are gone, note why and return None."""
    from toolchain.reporting.images.neighbours import TrainingImages

    try:
        training = TrainingImages(files.run, progress)
    except ToolchainError as error:
        found.notes.append(f"similar training images: {error}")
        return None
    found.compared, found.total = len(training.samples), training.total
    return training


def shown_classes(evaluation: StoredEvaluation, row: int) -> list[tuple[int, str]]:
    """Return (class, "answer" or "label") of the maps of an image: at most two.

    Single-label: the predicted class and, where it is wrong, the true one. Multi-label: a class
    that was wrongly found and one that was missed; of a right image one that was found.
    """
    truth, predicted = evaluation.truth[row], evaluation.predicted[row]
    answer = np.flatnonzero(predicted & ~truth)
    label = np.flatnonzero(truth & ~predicted)
    shown = [(int(answer[0]), "answer")] if len(answer) else []
    shown += [(int(label[0]), "label")] if len(label) else []
    if not shown and predicted.any():
        shown = [(int(np.flatnonzero(predicted)[0]), "answer")]
    return shown
