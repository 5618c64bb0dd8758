"""The precision that a model file computes in, read from its weights and not from its card.

A card could claim int8 for a file in float32, to be held to the wide tolerances of int8.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from toolchain.runtime.card import Format, Precision
from toolchain.runtime.onnxfile.protobuf import Message, Wire
from toolchain.runtime.onnxfile.scan import MAX_FIELDS

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators whose weights decide."""
FLOAT16 = 10
"""ONNX's number of the type float16."""

# Field numbers of onnx.proto.
GRAPH, NODES, INITIALIZERS = 7, 1, 5
NODE_INPUTS, NODE_OUTPUTS, NODE_OPERATOR = 1, 2, 4
TENSOR_TYPE, TENSOR_NAME = 2, 8


def graph_precision(path: Path, model_format: Format | None) -> Precision:
    """Return the precision of most layers with weights; fp32 where no other has the most.

    An int8 file may leave some layers in float. TorchScript and .pt2 files are fp32 only, so they
    are held to the rules of fp32 whatever is in them. Raises WireError for a damaged ONNX file.
    """
    if model_format in ("torchscript", "pt2"):
        return "fp32"
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        graph = Wire(data, max_fields=MAX_FIELDS).message(0, len(data)).message(GRAPH)
        layers = Counter(_precisions_of_layers(graph) if graph is not None else ())
    for precision in ("int8", "fp16"):
        if 2 * layers[precision] > layers.total():
            return precision
    return "fp32"


def _precisions_of_layers(graph: Message) -> Iterator[Precision]:
    """Yield the precision of each layer's weight, the second input of its operator."""
    types = {t.text(TENSOR_NAME): t.integer(TENSOR_TYPE) for t in graph.messages(INITIALIZERS)}
    producers: dict[str, tuple[str, list[str]]] = {}
    for node in graph.messages(NODES):
        operator, inputs = node.text(NODE_OPERATOR), node.texts(NODE_INPUTS)
        producers.update(dict.fromkeys(node.texts(NODE_OUTPUTS), (operator, inputs)))
        if operator not in WEIGHTED:
            continue
        weight = inputs[1] if len(inputs) > 1 else ""
        made_by, _ = producers.get(weight, ("", []))
        if made_by == "DequantizeLinear":
            yield "int8"
        else:
            yield "fp16" if types.get(weight) == FLOAT16 else "fp32"
