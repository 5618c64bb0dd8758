"""What a classifier says about a split, and the metrics that are read from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from toolchain.networks.torchvision_import import import_torchvision

METRICS = ("accuracy", "macro_f1", "auc", "loss")
"""What `Outputs.score` knows; `--metric` takes the same names."""


@dataclass(frozen=True)
class Outputs:
    """What a classifier says about a split of one image or more.

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
    def accuracy(self) -> float:
        """The share of images that are wholly right, in 0…1.

        The largest logit is the label's; for multi-label, the classes at a probability above 0.5
        are exactly the image's.
        """
        return float((self.predicted == self.truth).all(axis=1).mean())

    @property
    def loss(self) -> float:
        """Mean cross entropy in nats; for multi-label binary, over images and classes."""
        logits, labels = torch.from_numpy(self.logits), torch.from_numpy(self.labels)
        if self.multi_label:
            return float(functional.binary_cross_entropy_with_logits(logits, labels.float()))
        return float(functional.cross_entropy(logits, labels))

    @property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that the split holds images of; 0 where it holds none.

        torchmetrics also counts a class without images, as 0, once an image is taken for it;
        evaluate/metrics.py does not, and a run must not have two figures of one name.
        """
        truth, predicted = self.truth, self.predicted
        present = truth.any(axis=0)
        if not present.any():
            return 0.0
        hits = (truth & predicted).sum(axis=0)[present]
        return float((2 * hits / (truth.sum(axis=0) + predicted.sum(axis=0))[present]).mean())

    @property
    def auc(self) -> float | None:
        """Area under the ROC curve, each class against the rest, mean over classes, in 0…1.

        Classes that all images have, or none, are left out. None where no class is left, or where
        a logit is not a number.
        """
        truth = self.truth
        judged = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0))
        if not len(judged) or not np.isfinite(self.logits).all():
            return None
        # torchmetrics imports torchvision, which does not load everywhere without this.
        import_torchvision()
        # Here, because it takes 0.25 to 0.6 s; most commands never ask.
        from torchmetrics.functional.classification import binary_auroc

        # In float32 many a sure answer is exactly 1, and ties have no order.
        scores = self._probabilities(torch.from_numpy(self.logits).double())
        labels = torch.from_numpy(truth).long()
        # Class by class, because torchmetrics' own mean takes a class without images for a 0.
        areas = [binary_auroc(scores[:, k], labels[:, k], validate_args=False) for k in judged]
        # Sums in float32 can end a little above 1.
        return min(1.0, float(torch.stack(areas).double().mean()))

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Counts of images, int64 [true class, predicted class]; ValueError for multi-label."""
        if self.multi_label:
            raise ValueError("a confusion matrix needs images of one class; these have several")
        classes = self.logits.shape[1]
        pairs = self.labels * classes + self.logits.argmax(axis=1)
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Which classes an image has, bool [images, classes]."""
        return self.labels.astype(bool) if self.multi_label else self._one_hot(self.labels)

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """Which classes an image is taken for, bool [images, classes]."""
        return self.logits > 0 if self.multi_label else self._one_hot(self.logits.argmax(axis=1))

    def probabilities(self, temperature: float) -> NDArray[np.float32]:
        """Softmax (multi-label: sigmoid) of logits / temperature, float32 [images, classes]."""
        return self._probabilities(torch.from_numpy(self.logits) / temperature).numpy()

    def score(self, metric: str) -> float:
        """Return a metric of METRICS so that higher is better: the loss negated.

        -inf for what can't be told, so that any other epoch is better. ValueError for an unknown
        metric.
        """
        if metric not in METRICS:
            raise ValueError(f"unknown metric '{metric}'; known are {', '.join(METRICS)}")
        value = -self.loss if metric == "loss" else getattr(self, metric)
        return -math.inf if value is None or math.isnan(value) else float(value)

    def _probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.sigmoid() if self.multi_label else logits.softmax(dim=1)

    def _one_hot(self, classes: NDArray[Any]) -> NDArray[np.bool_]:
        marked: NDArray[np.bool_] = classes[:, None] == np.arange(self.logits.shape[1])
        return marked
