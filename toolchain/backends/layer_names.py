"""The names of layers in model files and reports: torch's module names, with calls numbered.

A module that is called several times has its later calls numbered: `layer1.0.relu`,
`layer1.0.relu#2`. An exported ONNX file names its tensors like this. Two names are no modules:
`normalise` is the network's input, `logits` its output.
"""

from __future__ import annotations

from toolchain.runtime.card import LOGITS

NORMALISE = "normalise"
NETWORK = "classifier.network"
"""The path of the network in the module that is exported."""
LAYER_ROOTS = (
    *("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"),
)
"""The children of torchvision's ResNet."""


def call_name(module: str, call: int) -> str:
    """Name a module's call, counted from 1."""
    return module if call == 1 else f"{module}#{call}"


def called_module(call: str) -> str:
    """Return the name of the module that a call belongs to."""
    return call.partition("#")[0]


def is_layer(name: str) -> bool:
    """Return whether a tensor is named after a layer, and not by an exporter."""
    first = called_module(name).split(".")[0]
    return name in (NORMALISE, LOGITS) or first in LAYER_ROOTS


def layer_name(scope: str) -> str | None:
    """Return the name of a module in the network by its path in the exported module.

    None for a path outside of the network.
    """
    name = scope.removeprefix(f"{NETWORK}.")
    return name if name != scope and is_layer(name) else None
