"""The pooled features of the four stages of a network, of clean images: one pass, kept on disk.

`select/` measures with them how far a network's features serve a data set; a classifier that begins
as a linear probe is fitted on those of the stages that it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from toolchain.data.layouts import Dataset, Sample
from toolchain.files import real_path
from toolchain.networks.head_stages import stages_read, widths_read
from toolchain.networks.resnet import Classifier
from toolchain.networks.split import STAGES, FrozenBackbone, StagePooling, network_parts
from toolchain.networks.weights import state_sha256
from toolchain.progress import ProgressReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.runtime.card import Preprocessing
from toolchain.training.features.compute import (
    FeatureSpec,
    RequiredRows,
    RowImage,
    RowPixels,
    compute_missing,
    computed_features,
)
from toolchain.training.features.engine import fastest_engine
from toolchain.training.features.source import clean_key
from toolchain.training.features.store import SCHEMA, CacheKey, Entry, free_space
from toolchain.training.features.writer import Unstorable

StageFeatures = dict[str, NDArray[np.float32]]
"""Stage (layer1 … layer4) → its features, float32 [images, channels]."""


def pooled_spec(
    classifier: Classifier,
    dataset: Dataset,
    preprocessing: Preprocessing,
    settings: FinetuneSettings,
    device: torch.device,
) -> FeatureSpec:
    """Return what the pooled features of clean images depend on; the classifier is on `device`."""
    return FeatureSpec(
        classifier=classifier,
        frozen=[name for name, _ in network_parts(classifier.network)].index("avgpool"),
        dataset=dataset,
        preprocessing=preprocessing,
        settings=settings,
        views=0,
        device=device,
    )


def stage_features(
    spec: FeatureSpec, samples: Sequence[Sample], progress: ProgressReporter, *, keep: bool = True
) -> StageFeatures:
    """Return the pooled features of the samples' clean views, by stage.

    Those kept from an earlier run are not computed again; where none can be kept, or without
    `keep`, they are computed and used all the same. Raises DataError for an image that can't be
    read.
    """
    pooling = StagePooling(spec.classifier).eval()
    rows = _kept(spec, pooling, samples, progress) if keep and spec.settings.cache else None
    if rows is None:
        rows = _computed(spec, pooling, samples, progress)
    ends = np.cumsum(pooling.widths)
    return dict(zip(STAGES, np.split(rows, ends[:-1], axis=1), strict=True))


def read_features(
    spec: FeatureSpec, samples: Sequence[Sample], progress: ProgressReporter
) -> NDArray[np.float32]:
    """Return what the classifier takes of the samples' clean views, float32 [images, columns]."""
    features = stage_features(spec, samples, progress)
    stages = stages_read(spec.classifier.network)
    return np.concatenate([features[stage] for stage in stages], axis=1)


def _kept(
    spec: FeatureSpec, pooling: StagePooling, samples: Sequence[Sample], progress: ProgressReporter
) -> NDArray[np.float32] | None:
    """Return the rows from the cache, after computing the missing ones; None where it fails."""
    by_digest = {sample.digest: sample for sample in samples}
    try:
        entry = Entry(_key(spec, pooling))
        images: list[RowImage] = [(sample, None) for sample in by_digest.values()]
        required = RequiredRows(entry, pooling, list(by_digest), images)
        limit = int(spec.settings.cache_gb * 1e9)
        if not free_space(entry.new_bytes(required.names), limit, [entry.folder], progress):
            return None
        if not compute_missing(spec, [required], progress):
            return None
        rows, numbers = entry.read([sample.digest for sample in samples])
        found = rows[numbers].astype(np.float32)
        read = sum(widths_read(spec.classifier.network))
        _keep_for_head(spec, samples, found[:, -read:], progress)
        return found
    except (Unstorable, OSError):
        return None  # a disk that is full or for reading only: they are computed for this time


def _keep_for_head(
    spec: FeatureSpec,
    samples: Sequence[Sample],
    read: NDArray[np.float32],
    progress: ProgressReporter,
) -> None:
    """Keep what the classifier reads for strategy head too, which trains from the same values."""
    parts = [name for name, _ in network_parts(spec.classifier.network)]
    head = replace(spec, frozen=parts.index("fc"))
    backbone = FrozenBackbone(spec.classifier, head.frozen).eval()
    entry = Entry(clean_key(head, backbone, read.shape[1:]))
    rows = dict(zip((sample.digest for sample in samples), read, strict=True))
    if entry.missing(rows):
        with entry.writing(list(rows), progress) as writer:
            for name in list(writer.missing):
                writer.put(rows[name])


def _computed(
    spec: FeatureSpec, pooling: StagePooling, samples: Sequence[Sample], progress: ProgressReporter
) -> NDArray[np.float32]:
    engine = fastest_engine(pooling, spec.preprocessing.size, spec.device)
    pixels = RowPixels(
        [(sample, None) for sample in samples], spec.preprocessing, None, spec.settings.seed
    )
    return np.concatenate(list(computed_features(engine, pixels, spec, progress)))


def _key(spec: FeatureSpec, pooling: StagePooling) -> CacheKey:
    return CacheKey(
        data=str(real_path(spec.dataset.root)),
        arch=spec.settings.arch,
        boundary="pooled stages",
        weights_sha256=state_sha256(pooling.state_dict()),
        preprocessing=msgspec.to_builtins(spec.preprocessing),
        view="clean",
        shape=(sum(pooling.widths),),
        schema=SCHEMA,
    )
