"""The features of training images that are stored beside an ONNX file in fp32, for `rtl adapt`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from toolchain.adaptation.classifier import find_classifier
from toolchain.adaptation.features import FeatureModel
from toolchain.adaptation.source_features import (
    MOST_SOURCE_IMAGES,
    SourceFeatures,
    write_source_features,
)
from toolchain.errors import ImageError
from toolchain.progress import ProgressReporter
from toolchain.runs.sampling import evenly
from toolchain.runtime.card import Card
from toolchain.verification.references.trained_model import TrainedReference


@dataclass
class TrainingFeatures:
    """Computed by the first file of an export, which has the features of all of them."""

    trained: TrainedReference
    progress: ProgressReporter
    _computed: list[SourceFeatures] = field(default_factory=list)

    def write(self, model: Path, card: Card, path: Path) -> None:
        """Write the features of training images to `path`, by the graph of a verified model file.

        Only an ONNX file in fp32 that gives an image one label can be adapted; for any other, and
        where no training image can be read, nothing is written.
        """
        if (card.format, card.precision, card.task) != ("onnx", "fp32", "single-label"):
            return
        if not self._computed:
            self._computed.append(self._compute(model, card))
        if len(self._computed[0]):
            write_source_features(self._computed[0], path)

    def _compute(self, model: Path, card: Card) -> SourceFeatures:
        data = model.read_bytes()
        graph = FeatureModel(data, find_classifier(data, model), card)
        label_of = self.trained.training_labels
        paths = evenly(list(label_of), MOST_SOURCE_IMAGES)
        features = list(graph.of_files(paths, "features", self.progress))
        found = [
            (one, label_of[path])
            for path, one in zip(paths, features, strict=True)
            if not isinstance(one, ImageError)
        ]
        return SourceFeatures(
            np.array([one for one, _ in found], np.float32),
            np.array([label for _, label in found], np.int64),
        )
