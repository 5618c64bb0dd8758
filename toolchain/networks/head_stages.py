"""Which stages of a ResNet its classifier reads: the last one, or several side by side.

A network that reads several stages has torchvision's modules under torchvision's names. Only its
last layer is wider: it takes the pooled outputs of the stages that it reads, the earlier one first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolchain.runtime.card import HeadStages

STEM = ("conv1", "bn1", "relu", "maxpool")
STAGES = ("layer1", "layer2", "layer3", "layer4")
STAGES_READ: dict[HeadStages, tuple[str, ...]] = {
    "last": STAGES[-1:],
    "last-two": STAGES[-2:],
    "all": STAGES,
}
"""Setting → the stages, in the order of the classifier's inputs."""


class MultiStageResNet(nn.Module):
    """Computes logits [batch, classes] of normalised images from the outputs of several stages.

    It takes over the modules of a torchvision ResNet, under their names.
    """

    avgpool: nn.Module
    fc: nn.Module

    def __init__(self, resnet: nn.Module, stages: tuple[str, ...]) -> None:
        super().__init__()
        for name, module in resnet.named_children():
            self.add_module(name, module)
        self.stages = stages

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images float [batch, 3, size, size]."""
        features = images
        for name in STEM:
            features = getattr(self, name)(features)
        pooled = []
        for name in STAGES:
            features = getattr(self, name)(features)
            if name in self.stages:
                pooled.append(torch.flatten(self.avgpool(features), 1))
        logits: Tensor = self.fc(torch.cat(pooled, 1))
        return logits


def stages_read(network: nn.Module) -> tuple[str, ...]:
    """Return the stages whose pooled outputs the classifier of a network takes, in their order."""
    return network.stages if isinstance(network, MultiStageResNet) else STAGES[-1:]


def stage_width(stage: nn.Module) -> int:
    """Return how many channels the output of a stage has: those of its last block's last norm."""
    norms = [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)]
    return norms[-1].num_features


def widths_read(network: nn.Module) -> tuple[int, ...]:
    """Return how many columns the classifier takes of each stage that it reads."""
    return tuple(stage_width(network.get_submodule(stage)) for stage in stages_read(network))
