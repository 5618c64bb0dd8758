"""Intermediate outputs of a model, by torch's module names: of the trained one and of an ONNX file.

The names are those of `toolchain.backends.layer_names`. For files that torch computes see
`toolchain.verification.layers.pt2` and `torchscript`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.layer_names import LOGITS, NORMALISE, call_name, is_layer
from toolchain.backends.torch_eager import EagerBackend
from toolchain.runtime.card import Card
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.model_inputs import ModelOutputs, run_on_pixels

if TYPE_CHECKING:
    import onnx

PIXELS_TENSOR = "pixels"
"""The tensor behind the door of an `image` file."""
PREDICTOR = "in the predictor"
"""Stands for the operator where normalisation is not in the file: its door is `tensor`."""
InputKind = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
Weights = Mapping[str, NDArray[np.float32]]
"""What an operator holds, by the names of torch's parameters and buffers."""


@dataclass(frozen=True, eq=False)
class LayerOutput:
    """What one layer of a file gives."""

    name: str
    operator: str
    values: NDArray[np.float32]
    weights: Weights = field(default_factory=dict)
    """Empty for an operator without weights, or where the format hides them."""


def trained_layers(
    eager: EagerBackend, pixels: NDArray[np.uint8], wanted: Collection[str]
) -> dict[str, NDArray[np.float32]]:
    """Return the outputs of those calls in the trained network that are wanted, by their names."""
    found: dict[str, NDArray[np.float32]] = {}

    def note(call: str, _: str, output: Any) -> None:
        if call in wanted:
            # A copy: the next module may work in place.
            found[call] = output.detach().float().cpu().numpy().copy()

    _, found[LOGITS] = _listening(eager, pixels, note)
    return found


def trained_calls(eager: EagerBackend, pixels: NDArray[np.uint8]) -> list[tuple[str, str]]:
    """Return (name, kind of module) of the calls in the trained network, in their order."""
    calls: list[tuple[str, str]] = []
    _listening(eager, pixels, lambda call, kind, _: calls.append((call, kind)))
    return calls


def _listening(
    eager: EagerBackend, pixels: NDArray[np.uint8], note: Callable[[str, str, Any], None]
) -> ModelOutputs:
    """Run the trained network and note each call of a leaf module: its name, kind and output."""
    network = eager.classifier.network
    calls: Counter[str] = Counter()

    def hear(name: str, module: Any, output: Any) -> None:
        calls[name] += 1
        note(call_name(name, calls[name]), type(module).__name__, output)

    hooks = [network.register_forward_pre_hook(lambda net, given: hear(NORMALISE, net, given[0]))]
    hooks += [
        module.register_forward_hook(
            lambda module, given, output, name=name: hear(name, module, output)
        )
        for name, module in network.named_modules()
        if not list(module.children())
    ]
    try:
        return eager.run(pixels)
    finally:
        for hook in hooks:
            hook.remove()


def convolution_of(network: Any, normalisation: str) -> str | None:
    """Name the convolution that a BatchNorm layer follows; None for other layers.

    An exported file has the two as one operator.
    """
    kinds = {
        name: type(module).__name__
        for name, module in network.named_modules()
        if not list(module.children())
    }
    if kinds.get(normalisation) != "BatchNorm2d":
        return None
    names = list(kinds)
    before = names[: names.index(normalisation)]
    return next((name for name in reversed(before) if kinds[name] == "Conv2d"), None)


def onnx_layers(path: Path, card: Card, pixels: NDArray[np.uint8]) -> list[LayerOutput]:
    """Return the named intermediate outputs of an ONNX file, in the order of its nodes.

    It is run by onnxruntime on the CPU with its optimisations off, so that every tensor exists.
    """
    import onnx

    model = onnx.load(path)
    nodes = {output: node for node in model.graph.node for output in node.output}
    wanted = [name for name in nodes if is_layer(name)]
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in wanted if n not in known)
    session = _plain_session(model, "DISABLE_ALL")
    given_pieces: list[NDArray[Any]] = []

    def compute(given: NDArray[Any]) -> list[NDArray[np.float32]]:
        given_pieces.append(given)
        outputs: list[NDArray[np.float32]] = session.run(wanted, {card.input: given})
        return outputs

    found = run_on_pixels(compute, pixels, card)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = [
        LayerOutput(name, nodes[name].op_type, values, _held(nodes[name], tensors))
        for name, values in zip(wanted, found, strict=True)
    ]
    return normalised_by_predictor(card, given_pieces, len(pixels)) + layers


def normalised_by_predictor(card: Card, given: list[NDArray[Any]], count: int) -> list[LayerOutput]:
    """Return what the predictor normalised for a file that takes a tensor; nothing for others."""
    if card.input != "tensor":
        return []
    return [LayerOutput(NORMALISE, PREDICTOR, np.concatenate(given)[:count])]


def open_image_input(path: Path) -> InputKind:
    """Return what the door of an `image` file computes: an upright image's pixels [1, size, size, 3].

    Nodes stand in the order of computation; onnxruntime would run those behind the door too.
    """
    import onnx

    model = onnx.load(path)
    graph = model.graph
    last = next(i for i, node in enumerate(graph.node) if PIXELS_TENSOR in node.output)
    del graph.node[last + 1 :]
    del graph.output[:]
    graph.output.append(onnx.ValueInfoProto(name=PIXELS_TENSOR))
    session = _plain_session(model, "ENABLE_ALL")

    def door(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = session.run([PIXELS_TENSOR], {"image": image})[0]
        return pixels

    return door


def _held(node: onnx.NodeProto, tensors: Mapping[str, onnx.TensorProto]) -> Weights:
    """Return the weight of a convolution or of a linear layer, and its bias where it has one."""
    from onnx import numpy_helper

    if node.op_type not in ("Conv", "Gemm"):
        return {}
    held = zip(("weight", "bias"), node.input[1:], strict=False)
    return {key: numpy_helper.to_array(tensors[n]) for key, n in held if n in tensors}


def _plain_session(model: onnx.ModelProto, optimisation: str) -> Any:
    """Open a model in memory on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{optimisation}")
    options.graph_optimization_level = level
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 4  # weights that nothing uses any more would be noted
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
