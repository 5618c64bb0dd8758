"""What the passes of other tools need of an ONNX graph, beyond what a runtime needs.

onnxsim, onnxruntime's quantisers, onnxconverter-common and onnx's own passes change graphs by rules
that a valid graph may break. Values and speed are the same with these changes.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

IN_GRAPH_DEFAULTS = {("ReduceMean", "noop_with_empty_axes"): 0}
"""(Operator, attribute) → default. Written out, the attribute stops `onnx.version_converter`, which
knows no older name for it."""


def ease_interchange(model: onnx.ModelProto) -> None:
    """Change a graph of float32 so that other tools' passes can change it further."""
    graph = model.graph
    _cast_by_neighbour(graph)
    _read_no_output(graph)
    for node in graph.node:
        for attribute in list(node.attribute):
            default = IN_GRAPH_DEFAULTS.get((node.op_type, attribute.name))
            if default is not None and helper.get_attribute_value(attribute) == default:
                node.attribute.remove(attribute)


def declare_types(model: onnx.ModelProto) -> None:
    """Declare type and shape of every tensor that a node computes, and of no other.

    An initialiser that is declared too keeps its old shape when a quantiser transposes it, and the
    file can't be opened any more. Raises onnx's InferenceError for a graph whose types contradict
    each other.
    """
    graph = model.graph
    computed = {name for node in graph.node for name in node.output}
    computed -= {output.name for output in graph.output}
    _keep_declared(graph, computed)
    inferred = onnx.shape_inference.infer_shapes(
        model, check_type=True, strict_mode=True, data_prop=True
    )
    del graph.value_info[:]
    graph.value_info.extend(inferred.graph.value_info)
    _keep_declared(graph, computed)


def _keep_declared(graph: onnx.GraphProto, names: set[str]) -> None:
    kept = [value for value in graph.value_info if value.name in names]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _cast_by_neighbour(graph: onnx.GraphProto) -> None:
    """Let the pixels become floats of the type of the mean that is subtracted from them.

    onnxconverter-common makes float16 of every float32 tensor, but leaves the type in a `Cast`.
    `CastLike` follows the mean's type; onnxruntime replaces it by a `Cast` when it opens the file.
    """
    users = {name: node for node in graph.node for name in node.input}
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type != "Cast" or node.attribute[0].i != TensorProto.FLOAT:
            continue
        user = users.get(node.output[0])
        beside = [name for name in user.input if name in constants] if user else []
        if user is not None and user.op_type == "Sub" and beside:
            node.op_type = "CastLike"
            node.input.append(beside[0])
            del node.attribute[:]


def _read_no_output(graph: onnx.GraphProto) -> None:
    """Let no node read an output of the graph: where one does, the output is a copy.

    onnxconverter-common puts a cast between a node and its output (`keep_io_types`); a node that
    reads the output would get float32 among float16.
    """
    read = {name for node in graph.node for name in node.input}
    for output in graph.output:
        if output.name not in read:
            continue
        inner, place = f"{output.name}_computed", 0
        for position, node in enumerate(graph.node, start=1):
            if output.name in node.output:
                place = position
            for names in (node.input, node.output):
                names[:] = [inner if name == output.name else name for name in names]
        graph.node.insert(place, helper.make_node("Identity", [inner], [output.name]))
