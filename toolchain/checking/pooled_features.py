"""Features of all images: the outputs of two stages of a backbone, averaged over each image.

The last stage knows classes of things, the one before it textures and parts; together they tell
more wrong labels than either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toolchain.data.layouts import Sample
from toolchain.networks.resnet import Classifier, normalised
from toolchain.networks.split import FrozenBackbone, network_parts
from toolchain.progress import ProgressReporter, track_images
from toolchain.runtime.card import Preprocessing
from toolchain.training.features.engine import Engine, fastest_engine
from toolchain.training.inputs.samples import clean_pixels

STAGES = ("layer3", "layer4")


class PooledStages(FrozenBackbone):
    """Computes features float32 [batch, features] of pixels uint8 [batch, size, size, 3]."""

    def __init__(self, classifier: Classifier) -> None:
        names = [name for name, _ in network_parts(classifier.network)]
        super().__init__(classifier, names.index("avgpool"))
        used = names[: len(self.layers)]
        self.last = {max(i for i, n in enumerate(used) if n.startswith(s)) for s in STAGES}

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the mean of each channel of the stages, beside each other."""
        values = normalised(pixels, self.mean, self.std)
        pooled = []
        for index, layer in enumerate(self.layers):
            values = layer(values)
            if index in self.last:
                pooled.append(values.mean(dim=(2, 3)))
        return torch.cat(pooled, dim=1)


def pooled_features(
    classifier: Classifier,
    samples: Sequence[Sample],
    preprocessing: Preprocessing,
    device: torch.device,
    progress: ProgressReporter,
) -> NDArray[np.float32]:
    """Return the features of readable images, float32 [images, features], in their order."""
    backbone = PooledStages(classifier).eval()
    engine = fastest_engine(backbone, preprocessing.size, device)
    batches = _batches(engine, samples, preprocessing)
    shown = track_images(progress, batches, "features for the labels, images", len(samples), len)
    return np.concatenate(list(shown))


def _batches(
    engine: Engine, samples: Sequence[Sample], preprocessing: Preprocessing
) -> Iterator[NDArray[np.float32]]:
    """Yield the features of one batch after another; threads decode and compute, some ahead."""

    def compute(batch: Sequence[Sample]) -> NDArray[np.float32]:
        return engine(np.stack([clean_pixels(sample, preprocessing) for sample in batch]))

    pool = ThreadPoolExecutor(engine.threads)
    pending: deque[Future[NDArray[np.float32]]] = deque()
    try:
        for start in range(0, len(samples), engine.batch):
            pending.append(pool.submit(compute, samples[start : start + engine.batch]))
            if len(pending) > 2 * engine.threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
