"""How much memory the activations of a training step take, at least."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from toolchain.networks.resnet import build_network, on_meta_device
from toolchain.runs.image_size import keeps_features
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.strategies import counted_layers, plan_stages

MOST_BYTES_A_PIXEL = 6000
"""Above what any of the networks needs for a pixel of its input: a step that fits by this is not
looked at more closely. Wide ResNet-101, all of it trained, needs 5,100."""
BYTES = 4
COPIES = 2
"""A convolution's output is kept for BatchNorm's gradient, and after it for the next layer's."""


def bytes_of_step(settings: FinetuneSettings, classes: int, images: int, *, enough: float) -> float:
    """Return a lower bound of the bytes that a step of so many images keeps for its gradients.

    Where even a generous estimate is below `enough`, that estimate is returned.
    """
    generous = float(MOST_BYTES_A_PIXEL * settings.size**2 * images)
    if generous <= enough:
        return generous
    trained, largest_frozen = _output_sizes(settings, classes)
    # Frozen layers keep nothing; their features are computed for one image or more at a time.
    at_once = 1 if keeps_features(settings) else images
    return float(BYTES * COPIES * (trained * images + largest_frozen * at_once))


def _output_sizes(settings: FinetuneSettings, classes: int) -> tuple[int, int]:
    """Return (values that the trained convolutions give for one image, most of a frozen one)."""
    sizes: dict[str, int] = {}

    def record(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
            sizes[name] = output.numel()

        return hook

    with on_meta_device(), torch.no_grad():
        network = build_network(settings.arch, classes).eval()
        layers = counted_layers(network)
        for name in layers:
            network.get_submodule(name).register_forward_hook(record(name))
        network(torch.zeros((1, 3, settings.size, settings.size)))
    frozen = plan_stages(network, settings)[-1].frozen
    trained = sum(sizes[name] for name in layers[frozen:])
    return trained, max((sizes[name] for name in layers[:frozen]), default=0)
