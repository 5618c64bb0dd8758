"""The outputs of a classifier for the images of a split, and the metrics computed from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from toolchain.metrics.per_class import macro_f1
from toolchain.networks.torchvision_import import import_torchvision

METRICS = ("accuracy", "macro_f1", "auc", "loss")
"""Metrics that `Outputs.score` computes; `--metric` takes the same names."""


@dataclass(frozen=True)
class Outputs:
    """Logits and labels of a split of one image or more.

    `logits` are float32 [images, classes]. `labels` are int64 [images] where an image has one
    class, or bool [images, classes] where it has any number of them.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64] | NDArray[np.bool_]

    @property
    def multi_label(self) -> bool:
        """Whether an image has any number of classes."""
        return self.labels.ndim == 2

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which images are right, bool [images].

        Single-label: the largest logit is that of the label. Multi-label: the classes with a
        probability above 0.5 are exactly those of the image.
        """
        return np.asarray((self.predicted == self.truth).all(axis=1))

    @property
    def accuracy(self) -> float:
        """The share of images that are right, in 0…1."""
        return float(self.right.mean())

    @property
    def loss(self) -> float:
        """Mean cross entropy in nats; multi-label: binary, over images and classes."""
        logits, labels = torch.from_numpy(self.logits), torch.from_numpy(self.labels)
        if self.multi_label:
            return float(functional.binary_cross_entropy_with_logits(logits, labels.float()))
        return float(functional.cross_entropy(logits, labels))

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that the split has images of; see `per_class.macro_f1`."""
        return macro_f1(self.truth, self.predicted)

    @property
    def auc(self) -> float | None:
        """Area under the ROC curve, each class against the rest, mean over the classes, in 0…1.

        Classes that every image has, or none, have no area and are left out. None where no class
        remains, or where a logit is not finite.
        """
        truth = self.truth
        measurable = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0))
        if not len(measurable) or not np.isfinite(self.logits).all():
            return None
        # torchmetrics imports torchvision, which fails in some environments unless it is imported
        # by this function first.
        import_torchvision()
        # Imported here, because it takes 0.25 to 0.6 s and most commands compute no AUC.
        from torchmetrics.functional.classification import binary_auroc

        # In float64: in float32 many confident probabilities round to 1, and their order is lost.
        scores = self._probabilities(torch.from_numpy(self.logits).double())
        labels = torch.from_numpy(truth).long()
        # Class by class, because torchmetrics' own mean counts a class without images as 0.
        areas = [binary_auroc(scores[:, k], labels[:, k], validate_args=False) for k in measurable]
        # torchmetrics sums in float32, which can end a little above 1.
        return min(1.0, float(torch.stack(areas).double().mean()))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Numbers of images, int64 [true class, predicted class]; ValueError for multi-label."""
        if self.multi_label:
            raise ValueError("a confusion matrix needs images of one class; these have several")
        classes = self.logits.shape[1]
        pairs = self.labels * classes + self.logits.argmax(axis=1)
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    @property
    def truth(self) -> NDArray[np.bool_]:
        """The classes that each image has, bool [images, classes]."""
        return self.labels.astype(bool) if self.multi_label else self._one_hot(self.labels)

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """The classes that are predicted for each image, bool [images, classes]."""
        return self.logits > 0 if self.multi_label else self._one_hot(self.logits.argmax(axis=1))

    def probabilities(self, temperature: float) -> NDArray[np.float32]:
        """Return softmax or sigmoid of logits / temperature, float32 [images, classes]."""
        return self._probabilities(torch.from_numpy(self.logits) / temperature).numpy()

    def score(self, metric: str) -> float:
        """Return a metric of METRICS, higher is better: the loss is negated.

        -inf where the metric is undefined, so that any other epoch is better. Raises ValueError for
        an unknown metric.
        """
        if metric not in METRICS:
            raise ValueError(f"unknown metric '{metric}'; known are {', '.join(METRICS)}")
        value = -self.loss if metric == "loss" else getattr(self, metric)
        return -math.inf if value is None or math.isnan(value) else float(value)

    def _probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.sigmoid() if self.multi_label else logits.softmax(dim=1)

    def _one_hot(self, classes: NDArray[Any]) -> NDArray[np.bool_]:
        one_hot: NDArray[np.bool_] = classes[:, None] == np.arange(self.logits.shape[1])
        return one_hot
