"""What the exporters trace: the network behind each door, and an example of its input."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from toolchain.networks.resnet import InferenceModel, probabilities_of
from toolchain.runtime.card import Card, InputKind


def traced(inference_model: InferenceModel, card: Card) -> nn.Module:
    """Return a copy of the model that takes what the card's door lets in, in eval mode.

    The `image` door is put in front of the graph later; here it takes pixels.
    """
    copied = copy.deepcopy(inference_model)
    network: nn.Module = copied.classifier.network
    network.avgpool = Mean()
    module: nn.Module = TensorInputModel(copied) if card.input == "tensor" else copied
    if card.precision == "fp16":
        network.half()
        network.register_forward_pre_hook(lambda _, given: (given[0].half(),))
        network.register_forward_hook(lambda _, given, output: output.float())
    return module.eval()


def traced_input_name(card: Card) -> InputKind:
    """Name the input of what is traced."""
    return "pixels" if card.input == "image" else card.input


def example(card: Card) -> Tensor:
    """Return an input; where any number may come two images, as one is taken for a constant."""
    size, batch = card.preprocessing.size, card.batch or 2
    if card.input == "tensor":
        return torch.zeros(batch, 3, size, size)
    return torch.zeros(1 if card.input == "image" else batch, size, size, 3, dtype=torch.uint8)


def free_axes(card: Card) -> tuple[dict[int, torch.export.Dim] | None]:
    """Return the axes of the one input that torch.export leaves open."""
    if card.batch is not None or card.input == "image":
        return (None,)
    return ({0: torch.export.Dim("batch", min=1, max=2**16)},)


class Mean(nn.Module):
    """The mean of each plane, what a ResNet's `avgpool` computes.

    torch.export writes AdaptiveAvgPool2d as a mean and a gather with computed strides, which no
    runtime fuses and onnxruntime can't quantise.
    """

    def forward(self, planes: Tensor) -> Tensor:
        """Return [batch, channels, 1, 1]."""
        return planes.mean((2, 3), keepdim=True)


class TensorInputModel(nn.Module):
    """(probabilities, logits) of planes float32 [batch, 3, size, size] that are normalised."""

    def __init__(self, inference_model: InferenceModel) -> None:
        super().__init__()
        # The same names as with the other doors, for the layers' sake.
        self.classifier = nn.ModuleDict({"network": inference_model.classifier.network})
        self.temperature, self.task = inference_model.temperature, inference_model.task

    def forward(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Classify, and turn logits into probabilities."""
        logits: Tensor = self.classifier["network"](tensor)
        return probabilities_of(logits, self.temperature, self.task), logits
