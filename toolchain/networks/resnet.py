"""The networks: a torchvision ResNet with a new head and its normalisation inside."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from toolchain.errors import TrainingError
from toolchain.networks.imagenet import imagenet_state
from toolchain.networks.torchvision_import import import_torchvision
from toolchain.progress import Narrator
from toolchain.runtime.card import Normalisation, Task

State = dict[str, Tensor]

IMAGENET_NORMALISATION = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Channel statistics of ImageNet, as torchvision's weights expect them."""


class Classifier(nn.Module):
    """Logits float32 [batch, classes] of pixels uint8 [batch, size, size, 3]."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, normalisation: Normalisation) -> None:
        super().__init__()
        self.network = network
        # In levels of 0…255, so that pixels need no division of their own.
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(normalisation.std).view(1, 3, 1, 1) * 255)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise and classify."""
        logits: Tensor = self.network(normalised(pixels, self.mean, self.std))
        return logits


def normalised(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Give planes float32 [batch, 3, size, size] of pixels [batch, size, size, 3] in 0…255."""
    return (pixels.permute(0, 3, 1, 2).to(torch.float32) - mean) / std


class Served(nn.Module):
    """What a model file computes: (probabilities, logits) of pixels, each [batch, classes].

    For multi-label each class has a probability of its own, whatever the others have.
    """

    def __init__(
        self, classifier: Classifier, temperature: float, task: Task = "single-label"
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.temperature = temperature
        self.task = task

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Classify, and turn logits into probabilities."""
        logits = self.classifier(pixels)
        return probabilities_of(logits, self.temperature, self.task), logits


def probabilities_of(logits: Tensor, temperature: float, task: Task) -> Tensor:
    """Give softmax(logits / temperature) over the classes, for multi-label the sigmoid of each."""
    scaled = logits / temperature
    return torch.sigmoid(scaled) if task == "multi-label" else torch.softmax(scaled, dim=1)


def build_network(arch: str, classes: int, *, dropout: float = 0.0) -> nn.Module:
    """Give a torchvision ResNet with random weights and a new head [dropout] + linear."""
    network: nn.Module = import_torchvision().models.get_model(arch, weights=None)
    features = network.get_submodule("fc").in_features
    assert isinstance(features, int)
    linear = nn.Linear(features, classes)
    # A dropout without effect would still be a layer in the file and in the keys of the weights.
    network.fc = nn.Sequential(nn.Dropout(dropout), linear) if dropout else linear
    return network


def start_classifier(
    arch: str, classes: int, weights: str, *, dropout: float, narrator: Narrator
) -> tuple[Classifier, str]:
    """Give a classifier that starts from `weights`, and one line about their origin.

    Raises TrainingError where the weights can't be had or don't fit the architecture.
    """
    network = build_network(arch, classes, dropout=dropout)
    if weights == "none":
        return Classifier(network, IMAGENET_NORMALISATION), "random"
    if weights == "imagenet":
        state, origin = imagenet_state(arch, narrator)
    else:
        state, origin = read_weights(Path(weights)), f"file {Path(weights).name}"
    _load_backbone(network, state, arch, origin)
    return Classifier(network, IMAGENET_NORMALISATION), origin


def load_classifier(
    arch: str, classes: int, weights: Path, normalisation: Normalisation
) -> Classifier:
    """Give the trained classifier of a run folder, in eval mode."""
    state = read_weights(weights)
    dropout = 0.5 if "network.fc.1.weight" in state else 0.0  # only its place in the keys matters
    classifier = Classifier(build_network(arch, classes, dropout=dropout), normalisation)
    classifier.load_state_dict(state)
    return classifier.eval()


def read_weights(path: Path) -> State:
    """Give the tensors of a .safetensors or .pth file, floats as float32.

    A .pth file is opened with weights_only, which runs no code from it. Raises TrainingError.
    """
    if not path.is_file():
        raise TrainingError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise TrainingError(
            f"{path} can't be read as weights: {str(error).splitlines()[0]}",
            hint="a .safetensors file, or a .pth file with a state dict",
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise TrainingError(f"{path} holds no state dict (names and tensors)")
    return {name: v.float() if v.is_floating_point() else v for name, v in state.items()}


def state_sha256(state: State) -> str:
    """Give the digest of the weights, the same for equal weights on every machine."""
    return hashlib.sha256(weights_bytes(state)).hexdigest()


def weights_bytes(state: State) -> bytes:
    """Give a state dict in the safetensors format."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})


def _load_backbone(network: nn.Module, state: State, arch: str, origin: str) -> None:
    """Load everything but the head, which belongs to other classes."""
    own = network.state_dict()
    backbone = {name for name in own if not name.startswith("fc.")}
    missing = sorted(backbone - state.keys())
    wrong = [n for n in sorted(backbone & state.keys()) if state[n].shape != own[n].shape]
    if missing or wrong:
        what = f"lacks {missing[0]}" if missing else f"{wrong[0]} has another shape"
        raise TrainingError(
            f"the weights ({origin}) don't fit {arch}: {what}",
            hint=f"--arch must name the network the weights were made with, by torchvision's "
            f"key names; {len(missing) + len(wrong)} of {len(backbone)} tensors don't fit",
        )
    network.load_state_dict({name: state[name] for name in backbone}, strict=False)
