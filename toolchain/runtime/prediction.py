"""The prediction of a model for one image."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np

from toolchain.errors import ModelFileError
from toolchain.runtime.card import LABEL_THRESHOLD, Card, Task
from toolchain.runtime.model_inputs import Floats, ModelOutputs
from toolchain.runtime.option_checks import count_option


class ClassProbability(NamedTuple):
    """One class and its probability in 0…1."""

    label: str
    probability: float


class Prediction(msgspec.Struct, frozen=True, eq=False):
    """The prediction of a model for one image.

    Two predictions are equal where all of their numbers are. `as_dict` and `vars` return what
    `json.dumps` can write.

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
    def finite(self) -> bool:
        """Whether all outputs are finite numbers.

        A model with damaged weights gives others; `Predictor(..., on_nonfinite="keep")` returns
        them. Such a prediction has no label.
        """
        return bool(np.isfinite(self.logits).all() and np.isfinite(self.probabilities).all())

    @property
    def index(self) -> int:
        """The index of the most probable class. Raises ValueError where they are not finite."""
        if not self.finite:
            raise ValueError("the outputs are not finite numbers, so there is no label")
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
        if not self.finite:
            return []
        order = np.argsort(-self.logits, kind="stable")[:count]
        return [ClassProbability(self.classes[i], float(self.probabilities[i])) for i in order]

    def as_dict(self, top: int = 5) -> dict[str, Any]:
        """Return the prediction as texts, numbers and lists, which `json.dumps` can write.

        The keys are those of a row of `rtl predict --format jsonl` (docs/json.md) without `file`:
        `label` and `probability`, or for multi-label `labels` and `probabilities`; `rejected` where
        the card has a threshold; `top` with the `top` most probable classes. Where the outputs are
        not finite numbers, label and probability are None and the lists are empty.

        >>> sorted(prediction.as_dict())
        ['label', 'probability', 'top']
        """
        found = self.finite
        best = [{"label": label, "probability": p} for label, p in self.top(top)]
        if self.task == "multi-label":
            probabilities = [p for _, p in self.predicted] if found else []
            return {"labels": list(self.labels), "probabilities": probabilities, "top": best}
        row: dict[str, Any] = {
            "label": self.label if found else None,
            "probability": self.probability if found else None,
        }
        if self.threshold is not None:
            row["rejected"] = self.rejected if found else None
        return row | {"top": best}

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        """The same as `as_dict()`, for `vars` and for frameworks that encode objects by it."""
        return self.as_dict()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prediction):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def _compared(self) -> tuple[object, ...]:
        numbers = self.probabilities.tobytes(), self.logits.tobytes()
        return self.classes, self.threshold, self.task, *numbers

    def __repr__(self) -> str:
        if not self.finite:
            return "Prediction(outputs that are not finite numbers)"
        if self.task == "multi-label":
            return f"Prediction(labels={self.labels!r})"
        return f"Prediction({self.label!r}, probability={self.probability:.4f})"


def predictions_of(card: Card, outputs: ModelOutputs) -> list[Prediction]:
    """Return the prediction of each row of a model's outputs."""
    return [
        Prediction(card.classes, probabilities, logits, card.threshold, card.task)
        for probabilities, logits in zip(*outputs, strict=True)
    ]


def nonfinite_error(model: str, image: str) -> ModelFileError:
    """Return the error of a model whose outputs for an image are not finite numbers."""
    return ModelFileError(
        f"{model} gives outputs that are not finite numbers for {image}",
        hint="its weights are damaged, or numbers overflow in it; rtl verify shows more",
    )
