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

from toolchain.data.layouts import Sample
from toolchain.networks.resnet import Classifier
from toolchain.networks.split import StagePooling
from toolchain.progress import ProgressReporter, track_images
from toolchain.runtime.card import Preprocessing
from toolchain.training.features.engine import Engine, fastest_engine
from toolchain.training.inputs.samples import clean_pixels

USED = 2
"""Stages whose features are used, the last ones."""


def pooled_features(
    classifier: Classifier,
    samples: Sequence[Sample],
    preprocessing: Preprocessing,
    device: torch.device,
    progress: ProgressReporter,
) -> NDArray[np.float32]:
    """Return the features of readable images, float32 [images, features], in their order."""
    pooling = StagePooling(classifier).eval()
    columns = sum(pooling.widths[-USED:])
    engine = fastest_engine(pooling, preprocessing.size, device)
    batches = _batches(engine, samples, preprocessing)
    shown = track_images(progress, batches, "features for the labels, images", len(samples), len)
    return np.concatenate([rows[:, -columns:] for rows in shown])


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
