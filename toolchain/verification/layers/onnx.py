"""Intermediate outputs of an ONNX file, whose tensors rtl names after torch's modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.layer_names import is_layer
from toolchain.backends.onnxruntime import session_in_memory
from toolchain.runtime.card import LOGITS, Card
from toolchain.runtime.model_inputs import run_on_pixels
from toolchain.verification.layers.outputs import LayerOutput, Weights, normalised_by_predictor

if TYPE_CHECKING:
    import onnx


def onnx_layers(path: Path, card: Card, pixels: NDArray[np.uint8]) -> list[LayerOutput]:
    """Return the named intermediate outputs of an ONNX file, in the order of its nodes.

    They are made outputs of the graph, which onnxruntime computes on the CPU with its optimisations
    off, so that every tensor exists.
    """
    import onnx

    model = onnx.load(path)
    nodes = {output: node for node in model.graph.node for output in node.output}
    names = [name for name, node in nodes.items() if is_layer(name) and not _is_copy(node)]
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in known)
    session = session_in_memory(model, optimised=False)
    graph_inputs: list[NDArray[Any]] = []

    def compute(given: NDArray[Any]) -> list[NDArray[np.float32]]:
        graph_inputs.append(given)
        outputs: list[NDArray[np.float32]] = session.run(names, {card.input: given})
        return outputs

    values = run_on_pixels(compute, pixels, card)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    layers = [
        LayerOutput(name, nodes[name].op_type, output, _weights(nodes[name], tensors))
        for name, output in zip(names, values, strict=True)
    ]
    return normalised_by_predictor(card, graph_inputs, len(pixels)) + layers


def _is_copy(node: onnx.NodeProto) -> bool:
    """Return whether a node gives the logits as a copy of the last layer's output."""
    return node.op_type == "Identity" and node.output[0] == LOGITS and is_layer(node.input[0])


def _weights(node: onnx.NodeProto, tensors: Mapping[str, onnx.TensorProto]) -> Weights:
    """Return the weight of a convolution or of a linear layer, and its bias where it has one."""
    from onnx import numpy_helper

    if node.op_type not in ("Conv", "Gemm"):
        return {}
    arguments = zip(("weight", "bias"), node.input[1:], strict=False)
    return {key: numpy_helper.to_array(tensors[n]) for key, n in arguments if n in tensors}
