"""What is frozen and what is trained, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from toolchain.errors import TrainingError
from toolchain.networks.resnet import Classifier
from toolchain.networks.split import STAGES
from toolchain.runs.settings import FinetuneSettings


@dataclass(frozen=True)
class Trainable:
    """What a stage left trainable. Layers are counted as in the names of ResNets: the
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
            f"{self.parameters:,} of {self.all_parameters:,} parameters ({share:.2%})"
        )


@dataclass(frozen=True)
class Stage:
    """Epochs in which the same layers are frozen."""

    first_epoch: int
    epochs: int
    frozen: int
    """So many layers from the input on are frozen."""


def plan_stages(network: nn.Module, settings: FinetuneSettings) -> tuple[Stage, ...]:
    """Return the stages of a strategy, in order; each trains what the one before it trained, or more.

    Raises TrainingError where more layers are to be frozen than there are.
    """
    layers = len(main_path(network))
    all_but_head = layers - 1
    if settings.strategy == "two-stage":
        first = Stage(1, settings.head_epochs, all_but_head)
        rest = settings.epochs - settings.head_epochs
        later = _frozen_layers(network, settings.freeze_until)
        return (first, Stage(settings.head_epochs + 1, rest, later))
    if settings.strategy == "progressive":
        return tuple(_progressive(settings, all_but_head))
    frozen = {
        "head": all_but_head,
        "partial": _frozen_layers(network, settings.freeze_until),
        "full": 0,
    }[settings.strategy]
    return (Stage(1, settings.epochs, frozen),)


def enter_stage(network: nn.Module, stage: Stage) -> Trainable:
    """Freeze what the stage says, free the rest, and count it."""
    frozen = set(main_path(network)[: stage.frozen])
    for name, module in network.named_modules():
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = _layer_of(name) not in frozen
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
    """Return the names of the counted layers in the order that data passes them."""
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


def _progressive(settings: FinetuneSettings, all_but_head: int) -> Iterator[Stage]:
    """First the classifier, then so many more layers every so many epochs (article S3's advice)."""
    frozen, first = all_but_head, 1
    while first <= settings.epochs:
        left = settings.epochs - first + 1
        # Once nothing is frozen, the last stage goes on to the end.
        epochs = min(settings.unfreeze_every, left) if frozen else left
        yield Stage(first, epochs, frozen)
        first += epochs
        frozen = max(0, frozen - settings.unfreeze_layers)


def _frozen_layers(network: nn.Module, freeze_until: str) -> int:
    layers = main_path(network)
    if freeze_until in STAGES:
        return next(i for i, name in enumerate(layers) if name.startswith(freeze_until))
    count = len(layers) // 3 if freeze_until == "third" else int(freeze_until)
    if count >= len(layers):
        raise TrainingError(
            f"freeze_until: {count} layers to freeze, and this network has {len(layers)}",
            hint=f"at most {len(layers) - 1}; the classifier is always trained",
        )
    return count


def _layer_of(name: str) -> str:
    """Return the counted layer that a module belongs to.

    A norm belongs to its convolution (bn2 to conv2), a shortcut to its block's first convolution.
    """
    parent, _, own = name.rpartition(".")
    if "downsample" in name:
        return name.split(".downsample")[0] + ".conv1"
    if own.startswith("bn"):
        return f"{parent}.conv{own[2:]}".lstrip(".")
    return name
