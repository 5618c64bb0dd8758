"""An evaluation as the report reads it: evaluation.json of this rtl or an older one, and logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from toolchain.evaluation.evaluation_file import EvaluationFile
from toolchain.evaluation.image_results import ImageResult
from toolchain.evaluation.stored_logits import read_logits
from toolchain.metrics.linear_probe import softmax
from toolchain.runs.damage import reading
from toolchain.runs.runfolder import RunFolder
from toolchain.runtime.card import Card


@dataclass(frozen=True, eq=False)
class StoredEvaluation:
    """The evaluation of a run, with its arrays in the order of `file.results`."""

    file: EvaluationFile
    classes: tuple[str, ...]
    temperature: float
    logits: NDArray[np.float32] | None
    """[images, classes]; None where the evaluation is of an older rtl, or of very many images."""

    @property
    def multi_label(self) -> bool:
        """Whether an image has any number of classes."""
        return self.file.task == "multi-label"

    @cached_property
    def truth(self) -> NDArray[np.bool_]:
        """The classes that each image has, bool [images, classes]."""
        return self._flags([(r.label or "",) if r.labels is None else r.labels for r in self])

    @cached_property
    def predicted(self) -> NDArray[np.bool_]:
        """The classes that were predicted for each image, bool [images, classes]."""
        labels = [
            (r.predicted or "",) if r.labels is None else (r.predicted_labels or ()) for r in self
        ]
        return self._flags(labels)

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether each image is right, bool [images]; multi-label: in all classes."""
        same: NDArray[np.bool_] = (self.truth == self.predicted).all(axis=1)
        return same

    @cached_property
    def confidence(self) -> NDArray[np.float64]:
        """How certain the answer for each image is, in 0…1, float64 [images].

        Single-label: the probability of the predicted class. Multi-label: that of the class that
        is nearest to its threshold; 0 for an image without a predicted class where the logits are
        not kept.
        """
        if self.multi_label and self.logits is not None:
            probabilities = self.probabilities(self.temperature)
            certain: NDArray[np.float64] = np.maximum(probabilities, 1 - probabilities).min(axis=1)
            return certain
        certain_ones = [
            min(r.probabilities or (0.0,)) if r.labels is not None else (r.probability or 0.0)
            for r in self
        ]
        return np.asarray(certain_ones, dtype=np.float64)

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """The loss of each image in nats at the card's temperature, float64 [images].

        Without logits it is that of the predicted class's probability: a right image's exactly, and
        of a wrong one the least that it can be.
        """
        if self.logits is None:
            certain = np.clip(self.confidence, 1e-12, 1 - 1e-12)
            return np.where(self.right, -np.log(certain), -np.log(1 - certain))
        own = np.where(
            self.truth,
            self.probabilities(self.temperature),
            1 - self.probabilities(self.temperature) if self.multi_label else 1.0,
        )
        mean: NDArray[np.float64] = -np.log(np.clip(own, 1e-12, 1)).sum(axis=1)
        return mean / (len(self.classes) if self.multi_label else 1)

    def probabilities(self, temperature: float) -> NDArray[np.float64]:
        """Return softmax or sigmoid of logits / temperature, float64 [images, classes].

        Only where there are logits.
        """
        assert self.logits is not None
        scaled = self.logits.astype(np.float64) / temperature
        if self.multi_label:
            sigmoid: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * scaled))
            return sigmoid
        return softmax(scaled)

    def __iter__(self) -> Iterator[ImageResult]:
        return iter(self.file.results)

    def _flags(self, labels: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
        index = {name: number for number, name in enumerate(self.classes)}
        flags = np.zeros((len(labels), len(self.classes)), dtype=bool)
        for row, names in zip(flags, labels, strict=True):
            row[[index[name] for name in names if name in index]] = True
        return flags


def read_evaluation(folder: RunFolder, card: Card) -> StoredEvaluation | None:
    """Return the evaluation in a run folder; None where there is none.

    Raises DataError where evaluation.json is damaged. Logits that are not those of its results are
    left out: an older rtl writes a new evaluation and leaves the logits of the one before.
    """
    if not folder.evaluation.is_file():
        return None
    with reading(folder.evaluation, hint=f"rtl evaluate {folder.path} writes it anew"):
        file = msgspec.json.decode(folder.evaluation.read_bytes(), type=EvaluationFile)
        classes = tuple(row.label for row in file.per_class)
        if not file.results or not classes:
            raise ValueError("it has no results")
    found = StoredEvaluation(file, classes, card.temperature, None)
    logits = read_logits(folder.logits, len(file.results), len(classes))
    if logits is None or not _are_of(found, logits, card):
        return found
    return StoredEvaluation(file, classes, card.temperature, logits)


def _are_of(found: StoredEvaluation, logits: NDArray[np.float32], card: Card) -> bool:
    """Return whether the predictions of these logits are those of the results."""
    if not np.isfinite(logits).all():
        return False
    if found.multi_label:
        threshold = card.label_threshold if found.file.threshold is None else found.file.threshold
        scores = StoredEvaluation(found.file, found.classes, found.temperature, logits)
        predicted = scores.probabilities(found.temperature) >= threshold
        agree = (predicted == found.predicted).mean()
    else:
        agree = (logits.argmax(axis=1) == found.predicted.argmax(axis=1)).mean()
    return bool(agree > 0.999)  # a tie, or a probability at the threshold, may fall either way


def place_of(evaluation: StoredEvaluation, data: str | None) -> Path:
    """Return the folder that the names of the evaluated images are relative to."""
    given = Path(data or evaluation.file.data)
    return given.parent if given.is_file() else given
