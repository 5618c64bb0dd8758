"""What is frozen and what is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from toolchain.errors import TrainingError
from toolchain.training.models import Classifier
from toolchain.training.settings import FinetuneSettings

STAGES = ("layer1", "layer2", "layer3", "layer4")


@dataclass(frozen=True)
class Trainable:
    """What a strategy left trainable. Layers are counted as in the names of ResNets: the
    convolutions of the main path and the linear layer, without the shortcuts' convolutions.
    """

    parameters: int
    all_parameters: int
    layers: int
    all_layers: int

    def __str__(self) -> str:
        share = self.parameters / self.all_parameters
        return (
            f"training {self.layers} of {self.all_layers} layers, "
            f"{self.parameters:,} of {self.all_parameters:,} parameters ({share:.1%})"
        )


def apply_strategy(classifier: Classifier, settings: FinetuneSettings) -> Trainable:
    """Freeze what the strategy says and give what is left.

    Raises TrainingError where `freeze_until` asks for more layers than there are.
    """
    network = classifier.network
    for parameter in network.parameters():
        parameter.requires_grad = settings.strategy == "full"
    if settings.strategy == "partial":
        _unfreeze_after(network, settings.freeze_until)
    for parameter in network.get_submodule("fc").parameters():
        parameter.requires_grad = True
    return trainable(network)


def set_training_mode(classifier: Classifier) -> None:
    """Put trained layers into training mode and leave frozen ones as they were pretrained.

    A frozen BatchNorm stays in eval mode: otherwise its running statistics would drift, and the
    "frozen" part would no longer be the function that was pretrained.
    """
    classifier.train()
    for module in classifier.modules():
        if isinstance(module, _BatchNorm) and not any(
            p.requires_grad for p in module.parameters(recurse=False)
        ):
            module.eval()


def main_path(network: nn.Module) -> list[str]:
    """Give the names of the counted layers in the order that data passes them."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "downsample" not in name
    ]


def trainable(network: nn.Module) -> Trainable:
    """Count what is trainable in a network."""
    layers = main_path(network)
    trained = [n for n in layers if any(p.requires_grad for p in _parameters(network, n))]
    return Trainable(
        parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
        all_parameters=sum(p.numel() for p in network.parameters()),
        layers=len(trained),
        all_layers=len(layers),
    )


def _parameters(network: nn.Module, name: str) -> Iterator[nn.Parameter]:
    return network.get_submodule(name).parameters(recurse=False)


def _unfreeze_after(network: nn.Module, freeze_until: str) -> None:
    frozen = _frozen_layers(network, freeze_until)
    for name, module in network.named_modules():
        if any(True for _ in module.parameters(recurse=False)):
            train = _layer_of(name) not in frozen
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad = train


def _frozen_layers(network: nn.Module, freeze_until: str) -> set[str]:
    layers = main_path(network)
    if freeze_until in STAGES:
        first = next(i for i, name in enumerate(layers) if name.startswith(freeze_until))
        return set(layers[:first])
    count = len(layers) // 3 if freeze_until == "third" else int(freeze_until)
    if count >= len(layers):
        raise TrainingError(
            f"freeze_until: {count} layers to freeze, and this network has {len(layers)}",
            hint=f"at most {len(layers) - 1}; the classifier is always trained",
        )
    return set(layers[:count])


def _layer_of(name: str) -> str:
    """Give the counted layer that a module belongs to.

    A norm belongs to its convolution (bn2 to conv2), a shortcut to its block's first convolution.
    """
    parent, _, own = name.rpartition(".")
    if "downsample" in name:
        return name.split(".downsample")[0] + ".conv1"
    if own.startswith("bn"):
        return f"{parent}.conv{own[2:]}".lstrip(".")
    return name
