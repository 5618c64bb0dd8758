"""Which of torchvision's ResNets a state dict is of, by the shapes of its tensors."""

from __future__ import annotations

import re

from toolchain.networks.resnet import State

Blocks = tuple[int, int, int, int]
BASIC, BOTTLENECK = "basic", "bottleneck"
Shape = tuple[str, Blocks, int, int]
"""Kind of block, blocks of each stage, width and input channels of layer1.0.conv2."""

KNOWN: dict[Shape, str] = {
    (BASIC, (2, 2, 2, 2), 64, 64): "resnet18",
    (BASIC, (3, 4, 6, 3), 64, 64): "resnet34",
    (BOTTLENECK, (3, 4, 6, 3), 64, 64): "resnet50",
    (BOTTLENECK, (3, 4, 23, 3), 64, 64): "resnet101",
    (BOTTLENECK, (3, 8, 36, 3), 64, 64): "resnet152",
    (BOTTLENECK, (3, 4, 6, 3), 128, 4): "resnext50_32x4d",
    (BOTTLENECK, (3, 4, 23, 3), 256, 8): "resnext101_32x8d",
    (BOTTLENECK, (3, 4, 23, 3), 256, 4): "resnext101_64x4d",
    (BOTTLENECK, (3, 4, 6, 3), 128, 128): "wide_resnet50_2",
    (BOTTLENECK, (3, 4, 23, 3), 128, 128): "wide_resnet101_2",
}
BLOCK = re.compile(r"layer([1-4])\.(\d+)\.")


def recognised(state: State) -> str | None:
    """Return torchvision's name of the network that a state dict is of; None for another."""
    shape = shape_of(state)
    return KNOWN.get(shape) if shape else None


def description(state: State) -> str | None:
    """Return the name of the network, or its blocks where torchvision has no such; None for none.

    >>> import torch
    >>> description({"layer1.0.conv2.weight": torch.zeros(64, 64, 3, 3)})
    'a ResNet of 1-0-0-0 basic blocks'
    """
    shape = shape_of(state)
    if shape is None:
        return None
    kind, blocks, width, channels = shape
    plain = "" if (width, channels) == (64, 64) else f" of width {width}"
    return KNOWN.get(shape) or (f"a ResNet of {'-'.join(map(str, blocks))} {kind} blocks{plain}")


def shape_of(state: State) -> Shape | None:
    """Return what tells one ResNet from another; None for a state dict without residual blocks."""
    kernel = state.get("layer1.0.conv2.weight")
    if kernel is None or kernel.ndim != 4:
        return None
    numbers: dict[str, set[str]] = {stage: set() for stage in "1234"}
    for name in state:
        if found := BLOCK.match(name):
            numbers[found[1]].add(found[2])
    first, second, third, fourth = (len(numbers[stage]) for stage in "1234")
    kind = BOTTLENECK if "layer1.0.conv3.weight" in state else BASIC
    return kind, (first, second, third, fourth), kernel.shape[0], kernel.shape[1]
