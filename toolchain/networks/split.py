"""A network split in two: the frozen layers from the input on, and the layers that are trained.

The outputs of the frozen layers (features) can then be computed once for each image and kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolchain.networks.head_stages import STAGES as STAGES
from toolchain.networks.head_stages import STEM, stage_width, stages_read
from toolchain.networks.resnet import Classifier, normalised


def network_parts(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the parts of a torchvision ResNet as (name, module), in the order of computation.

    Called one after another they compute what the `forward` of the network computes; where its
    classifier reads several stages, `fc` takes the pooled outputs of the earlier ones too. It can
    be split between parts only, not within a residual block, which adds its input to its output.
    """
    blocks = [
        (f"{stage}.{name}", block)
        for stage in STAGES
        for name, block in network.get_submodule(stage).named_children()
    ]
    return [
        *((name, network.get_submodule(name)) for name in STEM),
        *blocks,
        ("avgpool", network.get_submodule("avgpool")),
        ("flatten", nn.Flatten(1)),
        ("fc", network.get_submodule("fc")),
    ]


def count_frozen_parts(network: nn.Module) -> int:
    """Return how many parts, counted from the input, have no trainable parameter."""
    for index, (_, module) in enumerate(network_parts(network)):
        if any(parameter.requires_grad for parameter in module.parameters()):
            return index
    raise AssertionError("a network always has a trainable head")


class FrozenBackbone(nn.Module):
    """Computes features float32 [batch, …] of pixels uint8 [batch, size, size, 3].

    It consists of the normalisation and the first `frozen` parts, which are the classifier's own.
    Where the classifier also reads stages that end before that, the features are [batch, columns]:
    the pooled outputs of these stages, then the output of the last part, flat.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: Classifier, frozen: int) -> None:
        super().__init__()
        self.register_buffer("mean", classifier.mean)
        self.register_buffer("std", classifier.std)
        parts = network_parts(classifier.network)[:frozen]
        self.layers = nn.Sequential(*(module for _, module in parts))
        self.pooled_after = _pooled_after(classifier.network)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features, which the first trained part takes."""
        images = normalised(pixels, self.mean, self.std)
        features, pooled = _run(enumerate(self.layers), images, [], self.pooled_after)
        return torch.cat([*pooled, features.flatten(1)], 1) if pooled else features


class TrainableHead(nn.Module):
    """Computes logits float32 [batch, classes] of features.

    It consists of the remaining parts, which are the classifier's own: training it trains them.
    """

    def __init__(self, classifier: Classifier, frozen: int) -> None:
        super().__init__()
        network = classifier.network
        parts = network_parts(network)
        self.first = frozen
        self.layers = nn.Sequential(*(module for _, module in parts[frozen:]))
        self.pooled_after = _pooled_after(network)
        before = [parts[place][0] for place in self.pooled_after if place < frozen]
        self.columns = sum(_channels(network, name) for name in before)
        """How many columns of the features are pooled outputs of earlier stages."""
        self.channels = _channels(network, parts[frozen - 1][0]) if before else 0

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits."""
        pooled: list[Tensor] = []
        if self.columns and len(self.layers) > 1:  # the classifier alone takes them as they are
            pooled, features = [features[:, : self.columns]], self._unpacked(features)
        *layers, last = self.layers
        places = enumerate(layers, start=self.first)
        features, pooled = _run(places, features, pooled, self.pooled_after)
        logits: Tensor = last(torch.cat([*pooled, features], 1) if pooled else features)
        return logits

    def _unpacked(self, features: Tensor) -> Tensor:
        """Return the output of the last frozen part [batch, channels, side, side]."""
        flat = features[:, self.columns :]
        side = math.isqrt(flat.shape[1] // self.channels)  # images are squares
        # In its own memory: a convolution of a view may round otherwise.
        return flat.reshape(-1, self.channels, side, side).contiguous()


def _run(
    parts: Iterable[tuple[int, nn.Module]],
    features: Tensor,
    pooled: list[Tensor],
    pooled_after: frozenset[int],
) -> tuple[Tensor, list[Tensor]]:
    """Return (the output of the last part, the pooled outputs of stages so far)."""
    for place, part in parts:
        features = part(features)
        if place in pooled_after:
            pooled = [*pooled, _pool(features)]
    return features, pooled


def _pooled_after(network: nn.Module) -> frozenset[int]:
    """Return the places of the parts that end a stage which the classifier reads, but the last."""
    names = [name for name, _ in network_parts(network)]
    earlier = [stage for stage in stages_read(network) if stage != STAGES[-1]]
    return frozenset(
        max(place for place, name in enumerate(names) if name.startswith(stage))
        for stage in earlier
    )


def _channels(network: nn.Module, part: str) -> int:
    """Return how many channels the output of a part has that comes after the first stage."""
    stage = part.partition(".")[0]
    return stage_width(network.get_submodule(stage if stage in STAGES else STAGES[-1]))


def _pool(features: Tensor) -> Tensor:
    """Return the mean of each plane [batch, channels], as the network's own avgpool gives it."""
    return functional.adaptive_avg_pool2d(features, 1).flatten(1)


class StagePooling(nn.Module):
    """Computes the pooled outputs of all four stages, in one pass through the network.

    They are float32 [batch, columns] of pixels uint8 [batch, size, size, 3], the columns of layer1
    first; `widths` says how many each stage has. The last ones are what the classifier takes, of as
    many stages as it reads.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.register_buffer("mean", classifier.mean)
        self.register_buffer("std", classifier.std)
        network = classifier.network
        self.stem = nn.Sequential(*(network.get_submodule(name) for name in STEM))
        self.stages = nn.ModuleList(network.get_submodule(stage) for stage in STAGES)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the pooled outputs of the stages side by side."""
        features: Tensor = self.stem(normalised(pixels, self.mean, self.std))
        pooled = []
        for stage in self.stages:
            features = stage(features)
            pooled.append(_pool(features))
        return torch.cat(pooled, dim=1)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many columns each stage has, layer1 first."""
        return tuple(stage_width(stage) for stage in self.stages)
