"""The pooled features of images, computed by the graph of a model file in onnxruntime."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.adaptation.classifier import Classifier, with_features_as_output
from toolchain.backends.onnxruntime import session_in_memory
from toolchain.backends.outputs import pixels_of
from toolchain.errors import ImageError
from toolchain.progress import ProgressReporter
from toolchain.runtime.card import Card
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.model_inputs import Floats, Pixels, run_on_pixels
from toolchain.runtime.stream import in_order

BATCH_SIZE = 8


class FeatureModel:
    """The graph of a model file up to its classifier."""

    def __init__(self, data: bytes, classifier: Classifier, card: Card) -> None:
        self.card, self._name = card, classifier.features
        # The features would be no output of their own where onnxruntime has fused them away.
        self._session = session_in_memory(with_features_as_output(data, classifier), optimised=True)

    def run(self, pixels: Pixels) -> Floats:
        """Return float32 [images, features] of pixels uint8 [images, size, size, 3]."""

        def compute(graph_input: NDArray[np.generic]) -> Sequence[Floats]:
            [features] = self._session.run([self._name], {self.card.input: graph_input})
            return [np.asarray(features, np.float32)]

        return run_on_pixels(compute, pixels, self.card)[0]

    def of_pixels(self, pixels: Pixels) -> Floats:
        """Return float32 [images, features] of any number of images, in batches."""
        starts = range(0, len(pixels), BATCH_SIZE)
        return np.concatenate([self.run(pixels[i : i + BATCH_SIZE]) for i in starts])

    def of_files(
        self, paths: Sequence[Path], label: str, progress: ProgressReporter
    ) -> Iterator[Floats | ImageError]:
        """Yield the features of each image file, in order; an ImageError where it can't be read."""

        def work(some: Iterable[Path]) -> list[Floats | ImageError]:
            read = [self._pixels(path) for path in some]
            good = [pixels for pixels in read if not isinstance(pixels, ImageError)]
            features = iter(self.run(np.stack(good)) if good else [])
            return [item if isinstance(item, ImageError) else next(features) for item in read]

        # The session has a thread for each core: more batches at once would gain nothing but the
        # time of the decoder.
        found = in_order(work, paths, batch_size=BATCH_SIZE, workers=min(2, usable_cores()))
        yield from progress.track(found, label, len(paths))

    def _pixels(self, path: Path) -> Pixels | ImageError:
        try:
            return pixels_of(self.card, path, str(path))
        except ImageError as error:
            return error
