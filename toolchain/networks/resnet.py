"""The modules: a torchvision ResNet with a new head, wrapped with normalisation and probabilities.

`build_network` makes the ResNet, `Classifier` adds the normalisation and is what is trained,
`InferenceModel` adds the probabilities and is what is exported.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from toolchain.networks.head_stages import (
    STAGES_READ,
    MultiStageResNet,
    stages_read,
    widths_read,
)
from toolchain.networks.torchvision_import import import_torchvision
from toolchain.runtime.card import HeadStages, Normalisation, Task

State = dict[str, Tensor]
"""A state dict: tensors by the names of parameters and buffers."""

IMAGENET_NORMALISATION = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Channel statistics of ImageNet, as torchvision's weights expect them."""


@contextlib.contextmanager
def on_meta_device() -> Iterator[None]:
    """Make networks and tensors that have shapes and no values.

    torchvision is imported before: it imports torch._dynamo, which torch 2.8 can't within a device.
    """
    import_torchvision()
    with torch.device("meta"):
        yield


def build_network(
    arch: str, classes: int, *, dropout: float = 0.0, head_stages: HeadStages = "last"
) -> nn.Module:
    """Return a torchvision ResNet with random weights and a new head: [dropout] + linear.

    `arch` is torchvision's name of it; the head reads the pooled outputs of `head_stages`. Raises
    MissingExtraError without torchvision.
    """
    network: nn.Module = import_torchvision().models.get_model(arch, weights=None)
    if head_stages != "last":
        network = MultiStageResNet(network, STAGES_READ[head_stages])
    network.fc = _new_head(network, classes, dropout)
    return network


def _new_head(network: nn.Module, classes: int, dropout: float) -> nn.Module:
    linear = nn.Linear(sum(widths_read(network)), classes)
    # No Dropout(0): it would be a layer in the exported file and change the names of the weights.
    return nn.Sequential(nn.Dropout(dropout), linear) if dropout else linear


class Classifier(nn.Module):
    """Computes logits float32 [batch, classes] of pixels uint8 [batch, size, size, 3]."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = network
        # Scaled to 0…255 once, so that pixels need no division by 255.
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(normalisation.std).view(1, 3, 1, 1) * 255)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits of normalised pixels."""
        logits: Tensor = self.network(normalised(pixels, self.mean, self.std))
        return logits


def with_head_stages(classifier: Classifier, head_stages: HeadStages) -> Classifier:
    """Return a classifier of the same backbone whose head reads these stages.

    It is the same one where it does; else its head is new, and the modules of the backbone are
    shared.
    """
    network, read = classifier.network, STAGES_READ[head_stages]
    if stages_read(network) == read:
        return classifier
    dropouts = [m.p for m in network.get_submodule("fc").modules() if isinstance(m, nn.Dropout)]
    classes = last_linear(network).out_features
    reading = MultiStageResNet(network, read)
    reading.fc = _new_head(reading, classes, sum(dropouts)).to(classifier.mean.device)
    changed = copy.copy(classifier)
    changed._modules = {**classifier._modules, "network": reading}
    return changed


def last_linear(network: nn.Module) -> nn.Linear:
    """Return the linear layer that computes the logits."""
    *_, linear = network.get_submodule("fc").modules()
    assert isinstance(linear, nn.Linear)
    return linear


def normalised(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Return pixels [batch, size, size, 3] in 0…255 as (pixels - mean) / std, channels first.

    The result is float32 [batch, 3, size, size]; `mean` and `std` are [1, 3, 1, 1] in 0…255.
    """
    return (pixels.permute(0, 3, 1, 2).to(torch.float32) - mean) / std


class InferenceModel(nn.Module):
    """Computes (probabilities, logits), each float32 [batch, classes], as an exported file does."""

    def __init__(
        self, classifier: Classifier, temperature: float, task: Task = "single-label"
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.temperature = temperature
        self.task = task

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return (probabilities, logits) of pixels uint8 [batch, size, size, 3]."""
        logits = self.classifier(pixels)
        return probabilities_of(logits, self.temperature, self.task), logits


def probabilities_of(logits: Tensor, temperature: float, task: Task) -> Tensor:
    """Return softmax(logits / temperature) over the classes; for multi-label, sigmoid of each."""
    scaled = logits / temperature
    return torch.sigmoid(scaled) if task == "multi-label" else torch.softmax(scaled, dim=1)
