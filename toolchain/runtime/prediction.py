"""The prediction of a model for one image."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from toolchain.runtime.card import LABEL_THRESHOLD, Task
from toolchain.runtime.model_inputs import Floats
from toolchain.runtime.option_checks import count_option


class ClassProbability(NamedTuple):
    """One class and its probability in 0…1."""

    label: str
    probability: float


class Prediction(msgspec.Struct, frozen=True, eq=False):
    """The prediction of a model for one image.

    >>> prediction = predictor(photo)
    >>> prediction.label == prediction.top(1)[0].label
    True
    >>> prediction.probabilities.dtype, prediction.probabilities.shape
    (dtype('float32'), (3,))
    """

    classes: tuple[str, ...]
    probabilities: Floats
    """float32 [classes], in the order of `classes`."""
    logits: Floats
    """float32 [classes]."""
    threshold: float | None = None
    """Single-label: predictions below it are rejected. Multi-label: classes from it on are
    predicted."""
    task: Task = "single-label"

    @property
    def index(self) -> int:
        """The index of the most probable class."""
        return int(self.logits.argmax())

    @property
    def label(self) -> str:
        """The most probable class. For multi-label, `labels` are the predicted classes."""
        return self.classes[self.index]

    @property
    def probability(self) -> float:
        """The probability of `label`, in 0…1."""
        return float(self.probabilities[self.index])

    @property
    def labels(self) -> tuple[str, ...]:
        """The predicted classes, most probable first.

        Multi-label: those at or above the threshold (0.5 where the card has none), so there may be
        none. Single-label: `label` alone.
        """
        return tuple(label for label, _ in self.predicted)

    @property
    def predicted(self) -> list[ClassProbability]:
        """The classes of `labels` with their probabilities."""
        if self.task == "single-label":
            return self.top(1)
        threshold = LABEL_THRESHOLD if self.threshold is None else self.threshold
        # `top` is sorted, so the probabilities that reach the threshold come first.
        return self.top(int((self.probabilities >= threshold).sum()))

    @property
    def rejected(self) -> bool:
        """Single-label: whether the card has a threshold and `probability` is below it."""
        if self.task == "multi-label":
            return False  # an image may have none of the classes
        return self.threshold is not None and self.probability < self.threshold

    def top(self, count: int = 5) -> list[ClassProbability]:
        """Return the `count` most probable classes, best first; fewer where there are fewer.

        Raises TypeError where `count` is no integer, ValueError where it is negative.

        >>> best, second = prediction.top(2)
        >>> best.label == prediction.label, best.probability >= second.probability
        (True, True)
        """
        count = count_option("count", count, least=0)
        order = np.argsort(-self.logits, kind="stable")[:count]
        return [ClassProbability(self.classes[i], float(self.probabilities[i])) for i in order]

    def __repr__(self) -> str:
        if self.task == "multi-label":
            return f"Prediction(labels={self.labels!r})"
        return f"Prediction({self.label!r}, probability={self.probability:.4f})"
