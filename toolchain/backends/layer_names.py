"""The names of layers in files and reports: torch's module names, calls numbered.

A module that is called more than once has its calls numbered: `layer1.0.relu`, `layer1.0.relu#2`.
An exported ONNX file names its tensors so. `normalise` is what the network itself is given,
`logits` what it gives.
"""

from __future__ import annotations

NORMALISE, LOGITS = "normalise", "logits"
NETWORK = "classifier.network"
"""Where the network is in what is exported."""
LAYER_ROOTS = (
    *("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"),
)
"""The children of torchvision's ResNet."""


def call_name(module: str, call: int) -> str:
    """Name a module's call, counted from 1."""
    return module if call == 1 else f"{module}#{call}"


def called_module(call: str) -> str:
    """Return the module whose call has a name."""
    return call.partition("#")[0]


def is_layer(name: str) -> bool:
    """Say whether a tensor is named after what torch's hooks see."""
    first = called_module(name).split(".")[0]
    return name in (NORMALISE, LOGITS) or first in LAYER_ROOTS


def layer_name(scope: str) -> str | None:
    """Return torch's name of a leaf module in the network, by its path in what is exported."""
    name = scope.removeprefix(f"{NETWORK}.")
    return name if name != scope and is_layer(name) else None
