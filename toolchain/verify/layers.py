"""Intermediate outputs of a model, by torch's module names: of the trained one and of a file.

A module that is called more than once has its calls numbered: `layer1.0.relu`, `layer1.0.relu#2`.
An exported ONNX file names its tensors so (`toolchain.export.onnx`), and a .pt2 file keeps the
names of modules. `normalise` is what the network itself is given, `logits` what it gives.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolchain.runtime.card import Card
from toolchain.runtime.doors import through_door
from toolchain.verify.backends import EagerBackend, load_program

if TYPE_CHECKING:
    import onnx

NORMALISE, LOGITS = "normalise", "logits"
NETWORK = "classifier.network"
"""Where the network is in what is exported."""
DOOR_PIXELS = "pixels"
"""The tensor behind the door of an `image` file."""
LAYER_ROOTS = (
    *("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc"),
)
"""The children of torchvision's ResNet."""


@dataclass(frozen=True)
class LayerOutput:
    """What one layer of a file gives."""

    name: str
    operator: str
    values: NDArray[np.float32]


def call_name(module: str, call: int) -> str:
    """Name a module's call, counted from 1."""
    return module if call == 1 else f"{module}#{call}"


def trained_layers(
    eager: EagerBackend, pixels: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """Give the outputs of all leaf modules of the trained network, in the order of the calls."""
    network = eager.classifier.network
    found: dict[str, NDArray[np.float32]] = {}
    calls: Counter[str] = Counter()

    def note(name: str, output: Any) -> None:
        calls[name] += 1
        # A copy: the next module may work in place.
        found[call_name(name, calls[name])] = output.detach().float().cpu().numpy().copy()

    hooks = [network.register_forward_pre_hook(lambda _, given: note(NORMALISE, given[0]))]
    hooks += [
        module.register_forward_hook(lambda *call, name=name: note(name, call[-1]))
        for name, module in network.named_modules()
        if not list(module.children())
    ]
    try:
        _, found[LOGITS] = eager.run(pixels)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def convolution_of(eager: EagerBackend, normalisation: str) -> str | None:
    """Name the convolution that a BatchNorm layer follows; None for other layers.

    An exported file has the two as one operator.
    """
    kinds = {
        name: type(module).__name__
        for name, module in eager.classifier.network.named_modules()
        if not list(module.children())
    }
    if kinds.get(normalisation) != "BatchNorm2d":
        return None
    names = list(kinds)
    before = names[: names.index(normalisation)]
    return next((name for name in reversed(before) if kinds[name] == "Conv2d"), None)


def onnx_layers(path: Path, card: Card, pixels: NDArray[np.uint8]) -> list[LayerOutput]:
    """Give the named intermediate outputs of an ONNX file, in the order of its nodes.

    It is run by onnxruntime on the CPU with its optimisations off, so that every tensor exists.
    """
    import onnx

    model = onnx.load(path)
    operators = {name: node.op_type for node in model.graph.node for name in node.output}
    wanted = [name for name in operators if _is_layer(name)]
    return run_with_outputs(model, wanted, operators, card, pixels)


def run_with_outputs(
    model: onnx.ModelProto,
    wanted: list[str],
    operators: dict[str, str],
    card: Card,
    pixels: NDArray[np.uint8],
) -> list[LayerOutput]:
    """Give some tensors of an ONNX model for pixels that go in by the card's door."""
    import onnx
    import onnxruntime

    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in wanted if n not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    found = through_door(lambda given: session.run(wanted, {card.input: given}), pixels, card)
    return [LayerOutput(name, operators[name], v) for name, v in zip(wanted, found, strict=True)]


def _is_layer(name: str) -> bool:
    """Say whether a tensor is named after what torch's hooks see."""
    first = name.split(".")[0].split("#")[0]
    return name in (NORMALISE, LOGITS) or first in LAYER_ROOTS


def program_layers(path: Path, card: Card, pixels: NDArray[np.uint8]) -> list[LayerOutput]:
    """Give the outputs of the modules that a .pt2 file remembers, in the order of its nodes."""
    import torch

    module = load_program(path).module()
    assert isinstance(module, torch.fx.GraphModule)
    last = _last_nodes(module)
    names = list(last.values())

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            result = super().run_node(n)
            if n.name in last:
                # A copy: the next node may work in place.
                seen[last[n.name]] = result.detach().float().numpy().copy()
            return result

    seen: dict[str, NDArray[np.float32]] = {}

    def compute(given: NDArray[Any]) -> list[NDArray[np.float32]]:
        with torch.inference_mode():
            Recorder(module).run(torch.from_numpy(given))
        return [seen[name] for name in names]

    operators = {
        last[n.name]: str(n.target).split(".")[1] for n in module.graph.nodes if n.name in last
    }
    found = through_door(compute, pixels, card)
    return [LayerOutput(name, operators[name], v) for name, v in zip(names, found, strict=True)]


def _last_nodes(module: Any) -> dict[str, str]:
    """Give the name of the layer that each last node of a module's call ends."""
    calls: Counter[str] = Counter()
    ends: dict[str, str] = {}
    inside: str | None = None
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        stack = list(node.meta.get("nn_module_stack", {}).values())
        path = str(stack[-1][0]) if stack else ""
        name = layer_name(path)
        if name is None:
            inside = None
            continue
        if path != inside:
            calls[name] += 1
        else:
            ends = {n: layer for n, layer in ends.items() if layer != call_name(name, calls[name])}
        inside = path
        ends[node.name] = call_name(name, calls[name])
    return ends


def layer_name(scope: str) -> str | None:
    """Give torch's name of a leaf module in the network, by its path in what is exported."""
    name = scope.removeprefix(f"{NETWORK}.")
    return name if name != scope and _is_layer(name) else None


def door_pixels(path: Path, images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Give the pixels that the graph of an `image` file makes of upright images of any size."""
    import onnx
    import onnxruntime

    model = onnx.load(path)
    model.graph.output.append(onnx.ValueInfoProto(name=DOOR_PIXELS))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run([DOOR_PIXELS], {"image": image})[0] for image in images])
