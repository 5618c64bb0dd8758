"""Where a network is cut: what lies before the boundary is frozen, what lies after is trained."""

from __future__ import annotations

from torch import Tensor, nn

from toolchain.networks.resnet import Classifier, normalised

STEM = ("conv1", "bn1", "relu", "maxpool")
STAGES = ("layer1", "layer2", "layer3", "layer4")


def parts(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return a torchvision ResNet as (name, module) in the order that data passes them.

    Called one after the other they compute what the network's own `forward` computes. A cut is only
    possible between parts: a residual block needs its input twice.
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


def frozen_parts(network: nn.Module) -> int:
    """Return how many parts from the input on hold nothing trainable; 0 where all is trained."""
    for index, (_, module) in enumerate(parts(network)):
        if any(parameter.requires_grad for parameter in module.parameters()):
            return index
    raise AssertionError("a network always has a trainable classifier")


class FrozenBackbone(nn.Module):
    """Features float32 [batch, …] of pixels uint8 [batch, size, size, 3]: all that is frozen."""

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: Classifier, frozen: int) -> None:
        super().__init__()
        self.register_buffer("mean", classifier.mean)
        self.register_buffer("std", classifier.std)
        self.layers = nn.Sequential(*(module for _, module in parts(classifier.network)[:frozen]))

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise and go as far as the boundary."""
        features: Tensor = self.layers(normalised(pixels, self.mean, self.std))
        return features


class TrainableHead(nn.Module):
    """Logits float32 [batch, classes] of features: the rest, sharing the classifier's tensors."""

    def __init__(self, classifier: Classifier, frozen: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(module for _, module in parts(classifier.network)[frozen:]))

    def forward(self, features: Tensor) -> Tensor:
        """Go from the boundary to the logits."""
        logits: Tensor = self.layers(features)
        return logits
