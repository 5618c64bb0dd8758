"""Weights of networks: where training starts from, reading, loading, writing and digests."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import Tensor, nn

from toolchain.errors import TrainingError
from toolchain.files import unicode_name
from toolchain.networks.imagenet import imagenet_state
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, State, build_network
from toolchain.progress import ProgressReporter
from toolchain.runtime.card import Normalisation


def start_classifier(
    arch: str, classes: int, weights: str, *, dropout: float, progress: ProgressReporter
) -> tuple[Classifier, str]:
    """Return (classifier, origin) to start training from; `origin` describes the weights in a line.

    `weights` is `none` (random), `imagenet` (torchvision's), or the path of a file for
    `read_weights`. The head is always new. Raises TrainingError where the weights can't be
    downloaded or read, or don't fit the architecture.
    """
    network = build_network(arch, classes, dropout=dropout)
    if weights == "none":
        return Classifier(network, IMAGENET_NORMALISATION), "random"
    if weights == "imagenet":
        state, origin = imagenet_state(arch, progress)
    else:
        state, origin = read_weights(Path(weights)), f"file {Path(weights).name}"
    _load_backbone(network, state, arch, origin)
    return Classifier(network, IMAGENET_NORMALISATION), origin


def _load_backbone(network: nn.Module, state: State, arch: str, origin: str) -> None:
    """Load all weights but those of the head `fc`, which was trained for other classes."""
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


def load_classifier(
    arch: str, classes: int, weights: Path, normalisation: Normalisation
) -> Classifier:
    """Return a trained classifier from its weights file, in eval mode, on the CPU."""
    state = read_weights(weights)
    # A Dropout does nothing in eval mode, but it changes the name of the linear layer's weights.
    dropout = 0.5 if "network.fc.1.weight" in state else 0.0
    classifier = Classifier(build_network(arch, classes, dropout=dropout), normalisation)
    classifier.load_state_dict(state)
    return classifier.eval()


def read_weights(path: Path) -> State:
    """Return the state dict in a .safetensors or .pth file, floating-point tensors as float32.

    A .pth file is opened with `weights_only`, which runs no code from it. Raises TrainingError
    where the file is missing or holds no state dict.
    """
    if not path.is_file():
        raise TrainingError(f"{path}: no such weights file")
    try:
        if path.suffix == ".safetensors":
            # By its bytes where its name is not UTF-8, which safetensors can't open.
            named = unicode_name(str(path)) == str(path)
            state: Any = load_file(path) if named else load(path.read_bytes())
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
    """Return the SHA-256 of a state dict; equal tensors have the same one on every machine."""
    return hashlib.sha256(weights_bytes(state)).hexdigest()


def weights_bytes(state: State) -> bytes:
    """Return a state dict as the bytes of a .safetensors file."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
