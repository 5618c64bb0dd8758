"""A network split in two: the frozen layers from the input on, and the layers that are trained.

The outputs of the frozen layers (features) can then be computed once for each image and kept.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from toolchain.networks.resnet import Classifier, normalised

STEM = ("conv1", "bn1", "relu", "maxpool")
STAGES = ("layer1", "layer2", "layer3", "layer4")


def network_parts(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the parts of a torchvision ResNet as (name, module), in the order of computation.

    Called one after another they compute what the `forward` of the network computes. It can be
    split between parts only, not within a residual block, which adds its input to its output.
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
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: Classifier, frozen: int) -> None:
        super().__init__()
        self.register_buffer("mean", classifier.mean)
        self.register_buffer("std", classifier.std)
        self.layers = nn.Sequential(
            *(module for _, module in network_parts(classifier.network)[:frozen])
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the features, which the first trained part takes."""
        features: Tensor = self.layers(normalised(pixels, self.mean, self.std))
        return features


class TrainableHead(nn.Module):
    """Computes logits float32 [batch, classes] of features.

    It consists of the remaining parts, which are the classifier's own: training it trains them.
    """

    def __init__(self, classifier: Classifier, frozen: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(module for _, module in network_parts(classifier.network)[frozen:])
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.layers(features)
        return logits


class StagePooling(nn.Module):
    """Computes the pooled outputs of all four stages, in one pass through the network.

    They are float32 [batch, columns] of pixels uint8 [batch, size, size, 3], the columns of layer1
    first; `widths` says how many each stage has. Those of layer4 are what the classifier takes.
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
            # As the network's own avgpool, so that layer4's are the classifier's inputs to the bit.
            pooled.append(functional.adaptive_avg_pool2d(features, 1).flatten(1))
        return torch.cat(pooled, dim=1)

    @property
    def widths(self) -> tuple[int, ...]:
        """How many columns each stage has, layer1 first."""
        return tuple(_width(stage) for stage in self.stages)


def _width(stage: nn.Module) -> int:
    """Return how many channels the output of a stage has: those of its last block's last norm."""
    norms = [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)]
    return norms[-1].num_features
