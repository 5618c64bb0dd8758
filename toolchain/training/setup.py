"""Inputs of the training steps: data, network, stages, device, precision.

`Setup` holds them and `prepare` makes them. The data set comes from `data.py`, the weights to start
from come from `starting_weights.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import torch
from torch import nn

from toolchain.data.layouts import Dataset
from toolchain.networks.low_rank import add_low_rank
from toolchain.networks.resnet import Classifier, State
from toolchain.networks.split import FrozenBackbone, TrainableHead, count_frozen_parts
from toolchain.progress import ProgressReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.runtime.card import Preprocessing
from toolchain.training.alignment.aligner import OtherCamera
from toolchain.training.distributed import Processes
from toolchain.training.inputs.samples import targets_of
from toolchain.training.optim.losses import Loss, make_loss
from toolchain.training.optim.precision import (
    PROBE_IMAGES,
    MixedPrecision,
    choose_precision,
    to_memory_format,
)
from toolchain.training.starting_weights import StartingWeights
from toolchain.training.strategies import Stage, enter_stage, low_rank_layers, plan_stages


@dataclass(frozen=True)
class Setup:
    """All inputs of the training steps."""

    settings: FinetuneSettings
    """With the precision and memory layout that were chosen where they are `auto`."""
    dataset: Dataset
    classifier: Classifier
    origin: str
    """One line about where the weights come from."""
    stages: tuple[Stage, ...]
    trained: frozenset[str]
    """Names of the tensors that some stage changes."""
    device: torch.device
    mixed_precision: MixedPrecision
    processes: Processes
    camera: OtherCamera | None = None
    """For whose photographs it is trained; None where that is the training images' own camera."""

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing without augmentation, which goes into the card."""
        return preprocessing_of(self.settings)

    @property
    def trained_on(self) -> Dataset:
        """The data set with all images whose labels are trained on among its training images."""
        labelled = self.camera.images.labelled if self.camera else ()
        return replace(self.dataset, train=(*self.dataset.train, *labelled))

    def loss(self) -> Loss:
        """Return the loss, with the class weights of this data set."""
        train, classes = self.dataset.train, len(self.dataset.classes)
        targets = targets_of(train, classes)
        counts = targets.bincount(minlength=classes) if targets.ndim == 1 else targets.sum(0)
        return make_loss(self.settings, [int(count) for count in counts], len(train))

    def trained_state(self) -> State:
        """Return the live tensors that some stage changes: parameters, and statistics of norms."""
        state = self.classifier.state_dict()
        return {name: tensor for name, tensor in state.items() if name in self.trained}

    def frozen_state(self) -> State:
        """Return the live tensors that no stage changes."""
        state = self.classifier.state_dict()
        return {name: tensor for name, tensor in state.items() if name not in self.trained}


def prepare(
    settings: FinetuneSettings,
    dataset: Dataset,
    start: StartingWeights,
    device: torch.device,
    processes: Processes,
    progress: ProgressReporter,
) -> Setup:
    """Return the setup that trains the classifier of these starting weights, in place.

    Raises TrainingError for a strategy or precision that this network or device does not support.
    """
    classifier, origin = start
    classifier.to(device)
    stages = plan_stages(classifier.network, settings)
    layers = low_rank_layers(classifier.network, stages[-1])
    add_low_rank(classifier.network, layers, settings.rank, settings.seed)
    # The last stage trains all that any stage trains.
    enter_stage(classifier.network, stages[-1])
    trained = _trained_tensors(classifier)
    mixed_precision = processes.run_on_rank_zero(
        lambda: choose_precision(
            lambda: _precision_probe(classifier, settings, device), settings, device, progress
        )
    )
    to_memory_format(classifier, mixed_precision.memory_format)
    resolved = msgspec.structs.replace(
        settings, precision=mixed_precision.precision, channels_last=mixed_precision.channels_last
    )
    return Setup(
        resolved, dataset, classifier, origin, stages, trained, device, mixed_precision, processes
    )


def preprocessing_of(settings: FinetuneSettings) -> Preprocessing:
    """Return the preprocessing that resolved settings ask for."""
    assert settings.preprocessing != "auto"
    return Preprocessing(
        mode=settings.preprocessing,
        size=settings.size,
        resize_size=settings.resize_size,
        decode_scale=settings.decode_scale,
    )


def _trained_tensors(classifier: Classifier) -> frozenset[str]:
    """Return the names of the tensors of modules that are trainable now."""
    trained_modules = {
        name
        for name, module in classifier.named_modules()
        if any(p.requires_grad for p in module.parameters(recurse=False))
    }
    return frozenset(n for n in classifier.state_dict() if n.rpartition(".")[0] in trained_modules)


def _precision_probe(
    classifier: Classifier, settings: FinetuneSettings, device: torch.device
) -> tuple[nn.Module, torch.Tensor]:
    """Return the module that the last stage trains, and an input batch of it, for timing."""
    shape = (PROBE_IMAGES, settings.size, settings.size, 3)
    pixels = torch.full(shape, 128, dtype=torch.uint8, device=device)
    frozen = count_frozen_parts(classifier.network)
    if not settings.cache or not frozen:
        return classifier, pixels
    with torch.no_grad():
        return TrainableHead(classifier, frozen), FrozenBackbone(classifier, frozen).eval()(pixels)
