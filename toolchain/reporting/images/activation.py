"""Class activation maps: which places of an image speak for a class, exactly.

The last feature map of a ResNet is averaged over its places, and the last layer is linear. So a
logit is the mean over the places of (weights of the class · features of the place), plus a bias:
the summands are the map. Source: B. Zhou et al., "Learning Deep Features for Discriminative
Localization", CVPR 2016, arXiv 1512.04150.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from toolchain.networks.resnet import Classifier, normalised
from toolchain.networks.split import network_parts

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
    """[channels]: the mean of the last feature map, which the last layer takes."""


@torch.inference_mode()
def activations(
    classifier: Classifier, pixels: Iterable[NDArray[np.uint8]]
) -> Iterator[Activation]:
    """Yield the activation of each image of pixels uint8 [size, size, 3], on the CPU."""
    weights = last_layer(classifier).weight
    for batch in _batches(pixels):
        for features in feature_maps(classifier, batch):
            maps = torch.einsum("kc,chw->khw", weights, features)
            yield Activation(maps.numpy(), features.mean(dim=(1, 2)).numpy())


@torch.inference_mode()
def pooled_features(
    classifier: Classifier, pixels: Iterable[NDArray[np.uint8]]
) -> Iterator[NDArray[np.float32]]:
    """Yield the mean of the last feature map, float32 [channels], of each image."""
    for batch in _batches(pixels):
        for features in feature_maps(classifier, batch):
            yield features.mean(dim=(1, 2)).numpy()


def feature_maps(classifier: Classifier, batch: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Return the last feature maps float32 [images, channels, height, width]."""
    pixels = torch.from_numpy(np.stack(batch))
    features = normalised(pixels, classifier.mean, classifier.std)
    for name, part in network_parts(classifier.network):
        if name == "avgpool":
            break
        features = part(features)
    return features


def last_layer(classifier: Classifier) -> nn.Linear:
    """Return the linear layer that computes the logits."""
    *_, linear = classifier.network.get_submodule("fc").modules()
    assert isinstance(linear, nn.Linear)
    return linear


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
    return np.rint(ground * (1 - opacity) + colour * opacity).astype(np.uint8)


def _batches(pixels: Iterable[NDArray[np.uint8]]) -> Iterator[list[NDArray[np.uint8]]]:
    batch: list[NDArray[np.uint8]] = []
    for one in pixels:
        batch.append(one)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
