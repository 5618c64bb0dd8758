"""The module that the writers trace for each input kind, and an example of its input."""

from __future__ import annotations

import contextlib
import copy
import gc
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from toolchain.networks.resnet import InferenceModel, probabilities_of
from toolchain.runtime.card import Card, InputKind


def traced(inference_model: InferenceModel, card: Card) -> nn.Module:
    """Return a copy of the model with the card's input kind and precision, in eval mode.

    For `image` it takes pixels: resize and crop are put in front of the graph later.
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
    """Return the input kind of the traced module, which is also its input's name."""
    return "pixels" if card.input == "image" else card.input


def example(card: Card) -> Tensor:
    """Return an example input; where the batch is free two images, as torch makes 1 a constant."""
    size, batch = card.preprocessing.size, card.batch or 2
    if card.input == "tensor":
        return torch.zeros(batch, 3, size, size)
    return torch.zeros(1 if card.input == "image" else batch, size, size, 3, dtype=torch.uint8)


def free_axes(card: Card) -> tuple[dict[int, torch.export.Dim] | None]:
    """Return the dynamic axes of the one input, for torch.export: the batch, where it is free."""
    if card.batch is not None or card.input == "image":
        return (None,)
    return ({0: torch.export.Dim("batch", min=1, max=2**16)},)


@contextlib.contextmanager
def without_garbage_collector() -> Iterator[None]:
    """Keep Python's garbage collector from running until the block ends.

    torch makes hundreds of thousands of objects that live until an export is done. Visiting them
    again and again took a sixth of its time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Mean(nn.Module):
    """The mean of each plane, what a ResNet's `avgpool` computes.

    torch.export writes AdaptiveAvgPool2d as a mean and a gather with computed strides, which
    onnxruntime can neither fuse nor quantise.
    """

    def forward(self, planes: Tensor) -> Tensor:
        """Return [batch, channels, 1, 1]."""
        return planes.mean((2, 3), keepdim=True)


class TensorInputModel(nn.Module):
    """The model without normalisation: it takes normalised float32 [batch, 3, size, size]."""

    def __init__(self, inference_model: InferenceModel) -> None:
        super().__init__()
        # The module paths of the other input kinds, so that layers have the same names.
        self.classifier = nn.ModuleDict({"network": inference_model.classifier.network})
        self.temperature, self.task = inference_model.temperature, inference_model.task

    def forward(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Return (probabilities, logits), each [batch, classes]."""
        logits: Tensor = self.classifier["network"](tensor)
        return probabilities_of(logits, self.temperature, self.task), logits
