"""torchvision's ResNet-18 as transformers' ResNet: its configuration, and names of tensors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

KINDS = {"conv": "convolution", "bn": "normalization"}


def renamed(name: str) -> str:
    """Return transformers' name of a tensor of torchvision's ResNet-18.

    >>> renamed("layer2.0.bn1.weight")
    'resnet.encoder.stages.1.layers.0.layer.0.normalization.weight'
    >>> renamed("layer2.0.downsample.0.weight")
    'resnet.encoder.stages.1.layers.0.shortcut.convolution.weight'
    """
    if name.startswith("fc."):
        return name.replace("fc.", "classifier.1.")
    if found := re.fullmatch(r"(conv|bn)1\.(\w+)", name):
        return f"resnet.embedder.embedder.{KINDS[found[1]]}.{found[2]}"
    if found := re.fullmatch(r"layer(\d)\.(\d)\.(conv|bn)(\d)\.(\w+)", name):
        stage, layer, kind, number, rest = found.groups()
        where = f"{int(stage) - 1}.layers.{layer}.layer.{int(number) - 1}"
        return f"resnet.encoder.stages.{where}.{KINDS[kind]}.{rest}"
    if found := re.fullmatch(r"layer(\d)\.(\d)\.downsample\.([01])\.(\w+)", name):
        stage, layer, number, rest = found.groups()
        kind = ("convolution", "normalization")[int(number)]
        return f"resnet.encoder.stages.{int(stage) - 1}.layers.{layer}.shortcut.{kind}.{rest}"
    raise ValueError(f"{name} is no tensor of a ResNet-18")


def transformers_model(state: dict[str, Any], classes: Sequence[str]) -> Any:
    """Return a ResNetForImageClassification with the tensors of a torchvision state dict.

    A head for other classes is left out, and begins at random.
    """
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=64,
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        id2label=dict(enumerate(classes)),
        label2id={name: number for number, name in enumerate(classes)},
    )
    model = ResNetForImageClassification(config)
    given = {renamed(name): value for name, value in state.items()}
    if len(given["classifier.1.bias"]) != len(classes):
        given = {name: v for name, v in given.items() if not name.startswith("classifier.")}
    found = model.load_state_dict(given, strict=False)
    lost = [name for name in found.missing_keys if not name.startswith("classifier.")]
    if lost or found.unexpected_keys:
        raise ValueError(f"tensors that do not fit: {lost}, {found.unexpected_keys}")
    return model
