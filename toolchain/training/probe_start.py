"""A classifier that begins as a linear probe: fitted to clean features, before the first step.

Training the later layers from there (linear probing, then fine-tuning) keeps the features that a
random classifier's first gradients would disturb: Kumar and others 2022, arXiv 2202.10054.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from toolchain.metrics.linear_probe import LinearProbe, fit
from toolchain.networks.resnet import last_linear
from toolchain.progress import ProgressReporter
from toolchain.training.features.compute import FeatureSpec
from toolchain.training.features.pooled import pooled_spec, read_features
from toolchain.training.setup import Setup


def begin_head(setup: Setup, progress: ProgressReporter) -> None:
    """Fit the new classifier to the training images where the settings ask for it, in place."""
    settings, dataset = setup.settings, setup.dataset
    if settings.head_start != "probe":
        return

    def fitted() -> LinearProbe:
        features = read_features(_spec(setup), dataset.train, progress)
        labels = np.array([sample.labels[0] for sample in dataset.train])
        classes, scaling = len(dataset.classes), settings.probe_scaling
        return fit(features, labels, classes, settings.probe_l2, scaling)

    write_head(setup.classifier.network, setup.processes.run_on_rank_zero(fitted))


def write_head(network: nn.Module, probe: LinearProbe) -> None:
    """Write a probe into the network's linear layer, its standardisation folded in."""
    linear = last_linear(network)
    weights = probe.weights / probe.scale[:, None]
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weights.T))
        linear.bias.copy_(torch.from_numpy(probe.bias - probe.mean @ weights))


def _spec(setup: Setup) -> FeatureSpec:
    return pooled_spec(
        setup.classifier, setup.dataset, setup.preprocessing, setup.settings, setup.device
    )
