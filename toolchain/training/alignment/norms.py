"""BatchNorm statistics of two domains: each camera is normalised by its own.

Y. Li, N. Wang, J. Shi, J. Liu, X. Hou: Revisiting Batch Normalization For Practical Domain
Adaptation, 2016, arXiv 1603.04779. The classifier holds the statistics of the target, as these are
what is exported; those of the training images are kept beside it for as long as it is trained.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from toolchain.networks.resnet import Classifier, State

STATISTICS = ("running_mean", "running_var")


def statistics_of(classifier: Classifier) -> State:
    """Return copies of the running statistics of all norms, by their names in the classifier."""
    return {
        f"{name}.{key}": getattr(norm, key).detach().clone()
        for name, norm in _norms(classifier)
        for key in STATISTICS
    }


@torch.no_grad()
def estimate_statistics(classifier: Classifier, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of all norms by those of these images, in place.

    `batches` are pixels uint8 [images, size, size, 3]. Each batch is normalised by its own
    statistics, so that a layer sees what the layers before it make of the target when they are
    normalised by it; the means and variances are averaged over the images.
    """
    norms = [norm for _, norm in _norms(classifier)]
    momenta, training = [norm.momentum for norm in norms], classifier.training
    classifier.eval()
    seen = 0
    for norm in norms:
        norm.train()
    for pixels in batches:
        seen += len(pixels)
        for norm in norms:
            norm.momentum = len(pixels) / seen
        classifier(pixels)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    classifier.train(training)


def with_statistics(classifier: Classifier, statistics: State) -> Classifier:
    """Return a copy of the classifier with these running statistics."""
    copied = copy.deepcopy(classifier)
    copied.load_state_dict(statistics, strict=False)
    return copied


@contextlib.contextmanager
def source_pass(classifier: Classifier, source: State) -> Iterator[None]:
    """Compute training images in the block: they leave no trace in the target's statistics.

    A norm in training mode uses the batch's statistics and keeps its running ones; one in
    evaluation mode uses those in `source`.
    """
    norms = list(_norms(classifier))
    kept = [(norm.momentum, [getattr(norm, key) for key in STATISTICS]) for _, norm in norms]
    for name, norm in norms:
        if norm.training:
            norm.momentum = 0.0
        else:
            # Bound anew and not overwritten: the backward pass still needs these values.
            for key in STATISTICS:
                setattr(norm, key, source[f"{name}.{key}"])
    try:
        yield
    finally:
        for (_, norm), (momentum, tensors) in zip(norms, kept, strict=True):
            norm.momentum = momentum
            for key, tensor in zip(STATISTICS, tensors, strict=True):
                setattr(norm, key, tensor)


def _norms(classifier: nn.Module) -> Iterator[tuple[str, _BatchNorm]]:
    for name, module in classifier.named_modules():
        if isinstance(module, _BatchNorm):
            yield name, module
