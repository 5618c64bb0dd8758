"""The training strategies: which layers are frozen and which are trained, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from toolchain.errors import TrainingError
from toolchain.networks.low_rank import LowRankProduct
from toolchain.networks.resnet import Classifier
from toolchain.networks.split import STAGES
from toolchain.runs.settings import FinetuneSettings


@dataclass(frozen=True)
class TrainableCounts:
    """How much of a network is trainable.

    Layers are counted as in the names of ResNets: the convolutions of the main path and the linear
    layer, without the shortcuts' convolutions.
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
    """From 1."""
    epochs: int
    frozen: int
    """How many layers, counted from the input, are frozen."""
    trained: Literal["all", "norms", "low-rank"] = "all"
    """What is trained of the other layers: all, BatchNorm alone, or the low-rank differences of
    convolutions. The classifier is trained in any case."""


DELTA_STRATEGIES: dict[str, Literal["norms", "low-rank"]] = {"bn": "norms", "lora": "low-rank"}
"""Strategies that train a small part of each layer, and which."""


def plan_stages(network: nn.Module, settings: FinetuneSettings) -> tuple[Stage, ...]:
    """Return the stages of a strategy; each trains at least what the previous one trained.

    Raises TrainingError where the settings freeze more layers than the network has.
    """
    all_but_head = len(counted_layers(network)) - 1
    if settings.strategy == "two-stage":
        first = Stage(1, settings.head_epochs, all_but_head)
        rest = settings.epochs - settings.head_epochs
        later = _frozen_layers(network, settings.freeze_until)
        return (first, Stage(settings.head_epochs + 1, rest, later))
    if settings.strategy == "progressive":
        return tuple(_progressive(settings, all_but_head))
    if settings.strategy in DELTA_STRATEGIES:
        frozen = _frozen_layers(network, settings.freeze_until)
        return (Stage(1, settings.epochs, frozen, DELTA_STRATEGIES[settings.strategy]),)
    frozen = {
        "head": all_but_head,
        "partial": _frozen_layers(network, settings.freeze_until),
        "full": 0,
    }[settings.strategy]
    return (Stage(1, settings.epochs, frozen),)


def enter_stage(network: nn.Module, stage: Stage) -> TrainableCounts:
    """Freeze what the stage freezes, make everything else trainable, and count that."""
    frozen = set(counted_layers(network)[: stage.frozen])
    for name, module in network.named_modules():
        trained = _layer_of(name) not in frozen and _is_trained(module, stage)
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = trained
    return count_trainable(network)


def low_rank_layers(network: nn.Module, stage: Stage) -> list[str]:
    """Return the names of the convolutions of which a stage trains low-rank differences."""
    if stage.trained != "low-rank":
        return []
    frozen = set(counted_layers(network)[: stage.frozen])
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and _layer_of(name) not in frozen
    ]


def _is_trained(module: nn.Module, stage: Stage) -> bool:
    """Return whether a stage trains the parameters of a module in a layer that is not frozen."""
    if stage.trained == "all" or isinstance(module, nn.Linear):
        return True
    return isinstance(module, _BatchNorm if stage.trained == "norms" else LowRankProduct)


def set_training_mode(classifier: Classifier) -> None:
    """Put the classifier into training mode, but frozen BatchNorm layers into eval mode.

    Otherwise their running statistics would change, and the frozen part would no longer compute
    what the pretrained one did.
    """
    classifier.train()
    for module in classifier.modules():
        if isinstance(module, _BatchNorm) and not any(
            p.requires_grad for p in module.parameters(recurse=False)
        ):
            module.eval()


def counted_layers(network: nn.Module) -> list[str]:
    """Return the names of a network's layers from input to output; see `TrainableCounts`."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and "downsample" not in name
    ]


def count_trainable(network: nn.Module) -> TrainableCounts:
    """Return how many of a network's layers and parameters are trainable now."""
    layers = counted_layers(network)
    trainable = {_layer_of(n) for n, module in network.named_modules() if _is_trainable(module)}
    trained = [name for name in layers if name in trainable]
    return TrainableCounts(
        parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
        all_parameters=sum(p.numel() for p in network.parameters()),
        layers=len(trained),
        all_layers=len(layers),
    )


def _is_trainable(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters(recurse=False))


def _progressive(settings: FinetuneSettings, all_but_head: int) -> Iterator[Stage]:
    """Yield the stages: the classifier alone, then more layers every few epochs.

    S3 advises this; docs/configs.md names the articles.
    """
    frozen, first = all_but_head, 1
    while first <= settings.epochs:
        left = settings.epochs - first + 1
        # Once nothing is frozen, the last stage lasts to the end.
        epochs = min(settings.unfreeze_every, left) if frozen else left
        yield Stage(first, epochs, frozen)
        first += epochs
        frozen = max(0, frozen - settings.unfreeze_layers)


def _frozen_layers(network: nn.Module, freeze_until: str) -> int:
    """Return how many layers the setting `freeze_until` freezes."""
    layers = counted_layers(network)
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
    """Return the counted layer that a module is frozen with.

    A norm is frozen with its convolution (bn2 with conv2), a shortcut with its block's first
    convolution, a low-rank difference with the convolution that it is of.
    """
    name = name.removesuffix(".low_rank")
    parent, _, own = name.rpartition(".")
    if "downsample" in name:
        return name.split(".downsample")[0] + ".conv1"
    if own.startswith("bn"):
        return f"{parent}.conv{own[2:]}".lstrip(".")
    return name
