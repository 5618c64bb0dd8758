"""Class activation maps: which places of an image speak for a class, exactly.

The last feature map of a ResNet is averaged over its places, and the last layer is linear. So a
logit is the mean over the places of (weights of the class · features of the place), plus a bias:
the summands are the map. Where the last layer reads several stages, a logit is the sum of such
means, and the map is the sum of their maps. Source: B. Zhou et al., "Learning Deep Features for
Discriminative Localization", CVPR 2016, arXiv 1512.04150.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from toolchain.networks.head_stages import STAGES, STEM, stages_read, widths_read
from toolchain.networks.resnet import Classifier, last_linear, normalised

BATCH = 16
"""Images that are computed at once."""
WEAK, STRONG = (255, 214, 92), (214, 40, 30)
"""RGB colours of places that speak for a class a little, and most."""
MOST_OPAQUE = 0.72


@dataclass(frozen=True, eq=False)
class Activation:
    """What the network has of one image before its last layer."""

    maps: NDArray[np.float32]
    """[classes, height, width]: what each place adds to the logits; their mean, plus a bias."""
    features: NDArray[np.float32]
    """[channels]: the means of the feature maps, which the last layer takes."""


@torch.inference_mode()
def activations(
    classifier: Classifier, pixels: Iterable[NDArray[np.uint8]]
) -> Iterator[Activation]:
    """Yield the activation of each image of pixels uint8 [size, size, 3], on the CPU."""
    weights = last_linear(classifier.network).weight
    widths = widths_read(classifier.network)
    for batch in _batches(pixels):
        read = feature_maps(classifier, batch)
        maps = _summed(
            [_weighted(*pair) for pair in zip(weights.split(widths, 1), read, strict=True)]
        )
        for one, features in zip(maps, _pooled(read), strict=True):
            yield Activation(one.numpy(), features.numpy())


@torch.inference_mode()
def pooled_features(
    classifier: Classifier, pixels: Iterable[NDArray[np.uint8]]
) -> Iterator[NDArray[np.float32]]:
    """Yield what the last layer takes of each image, float32 [channels]."""
    for batch in _batches(pixels):
        for features in _pooled(feature_maps(classifier, batch)):
            yield features.numpy()


def feature_maps(classifier: Classifier, batch: Sequence[NDArray[np.uint8]]) -> list[Tensor]:
    """Return the last feature maps of each stage that the classifier reads, the last stage's last.

    Each is float32 [images, channels, height, width].
    """
    network, pixels = classifier.network, torch.from_numpy(np.stack(batch))
    features = normalised(pixels, classifier.mean, classifier.std)
    read = []
    for name in (*STEM, *STAGES):
        features = network.get_submodule(name)(features)
        if name in stages_read(network):
            read.append(features)
    return read


def _weighted(weights: Tensor, features: Tensor) -> Tensor:
    """Return what each place adds to the logits [images, classes, height, width]."""
    return torch.einsum("kc,nchw->nkhw", weights, features)


def _summed(maps: Sequence[Tensor]) -> Tensor:
    """Return the sum of the stages' maps at the places of the last, the coarsest one.

    A finer map is averaged within each of these places. Where they do not divide its sides, its
    mean would change by that, so what it lacks is added to every place.
    """
    *finer, total = maps
    height, width = total.shape[2:]
    for fine in finer:
        coarse = functional.adaptive_avg_pool2d(fine, (height, width))
        total = total + coarse + (_mean(fine) - _mean(coarse))
    return total


def _pooled(read: Sequence[Tensor]) -> Tensor:
    """Return the means of the feature maps side by side [images, channels]."""
    return torch.cat([_mean(features).flatten(1) for features in read], 1)


def _mean(maps: Tensor) -> Tensor:
    """Return the mean over the places [images, channels, 1, 1]."""
    return maps.mean(dim=(2, 3), keepdim=True)


def overlaid(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return pixels uint8 [size, size, 3] with a map [height, width] of a class laid over them.

    Places that speak against the class, or hardly for it, stay as they are.
    """
    highest = float(heat.max())
    share = np.clip(heat / highest, 0, 1) if highest > 0 else np.zeros_like(heat)
    size = (pixels.shape[1], pixels.shape[0])
    smooth = Image.fromarray(share.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    strength = np.clip(np.asarray(smooth), 0, 1)[:, :, None]
    colour = np.asarray(WEAK) * (1 - strength) + np.asarray(STRONG) * strength
    opacity = MOST_OPAQUE * np.clip((strength - 0.25) / 0.75, 0, 1)
    grey = pixels.mean(axis=2, keepdims=True)
    ground = 0.15 * pixels + 0.75 * grey + 25  # pale, so that the colours of the map stand out
    shown: NDArray[np.uint8] = np.rint(ground * (1 - opacity) + colour * opacity).astype(np.uint8)
    return shown


def _batches(pixels: Iterable[NDArray[np.uint8]]) -> Iterator[list[NDArray[np.uint8]]]:
    batch: list[NDArray[np.uint8]] = []
    for one in pixels:
        batch.append(one)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
