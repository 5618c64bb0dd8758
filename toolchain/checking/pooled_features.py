"""Features of all images: the outputs of two stages of a backbone, averaged over each image.

The last stage knows classes of things, the one before it textures and parts; together they tell
more wrong labels than either.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from toolchain.checking.backbone import Backbone
from toolchain.data.layouts import Dataset
from toolchain.data.split_names import SPLITS
from toolchain.networks.split import STAGES
from toolchain.progress import ProgressReporter
from toolchain.runs.learning_settings import Architecture
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.features.pooled import pooled_spec, stage_features

USED = STAGES[-2:]
"""Stages whose features are used."""


def pooled_features(
    dataset: Dataset, backbone: Backbone, device: torch.device, progress: ProgressReporter
) -> NDArray[np.float32]:
    """Return the features of a data set's images, float32 [images, features], split by split.

    They are kept between runs as those of training are, and are the same. The samples have their
    digests, as `audit_dataset` returns them.
    """
    settings = FinetuneSettings(data=str(dataset.root), arch=cast(Architecture, backbone.arch))
    classifier = backbone.classifier.to(device)
    spec = pooled_spec(classifier, dataset, backbone.preprocessing, settings, device)
    samples = [sample for split in SPLITS for sample in dataset.split(split)]
    features = stage_features(spec, samples, progress)
    return np.concatenate([features[stage] for stage in USED], axis=1)
