"""Intermediate outputs of a TorchScript file, by torch's module names.

A frozen file keeps no names. Its operators are matched with the trained network's calls, which come
in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.layer_names import NORMALISE
from toolchain.backends.torchscript import load_script
from toolchain.runtime.card import LOGITS, Card
from toolchain.verification.layers.outputs import LayerOutput
from toolchain.verification.layers.torch_operators import (
    OPERATORS,
    copied,
    module_kind,
    operator_weights,
    operator_with_mode,
    run_recorded,
)

if TYPE_CHECKING:
    import torch

PRIMITIVES = ("prim::Constant", "prim::ListConstruct", "prim::TupleConstruct", "prim::GetAttr")
"""Nodes that are no operators of torch and that `_computed` can compute."""


def script_layers(
    path: Path, card: Card, pixels: NDArray[np.uint8], calls: Sequence[tuple[str, str]]
) -> list[LayerOutput]:
    """Return the outputs of a TorchScript file's operators, named after the network's calls.

    `calls` are those of the trained network: (name, class of the module). The naming ends where the
    file computes something else than the network; that operator gets the name of the call that was
    expected in its place. The check of the input, on which no output depends, is passed over. A
    graph whose outputs depend on branches or calls, which rtl doesn't write, has no layers.
    """
    module = load_script(path)
    graph = module.inlined_graph
    nodes = _nodes_of_outputs(graph)
    if any(not n.kind().startswith("aten::") and n.kind() not in PRIMITIVES for n in nodes):
        return []
    layer_of = _layers_by_output(nodes, calls)

    def compute(given: torch.Tensor) -> list[LayerOutput]:
        layers: list[LayerOutput] = []
        own, argument = graph.inputs()
        values: dict[str, Any] = {own.debugName(): module, argument.debugName(): given}
        for node in nodes:
            inputs = [values[value.debugName()] for value in node.inputs()]
            output = node.output().debugName()
            if output not in layer_of:
                values[output] = _computed(node, inputs)
                continue
            if not layers:
                layers.append(LayerOutput(NORMALISE, "its input", copied(inputs[0])))
            operator = _operator(node)
            weights = operator_weights(operator, inputs)
            values[output] = _computed(node, inputs)
            words = operator_with_mode(operator, inputs)
            layers.append(LayerOutput(layer_of[output], words, copied(values[output]), weights))
        _, logits = values[next(graph.outputs()).debugName()]
        return [*layers, LayerOutput(LOGITS, "output", copied(logits))]

    return run_recorded(compute, card, pixels)


def _nodes_of_outputs(graph: Any) -> list[Any]:
    """Return the nodes that the outputs of a graph are computed by, in their order."""
    needed = {value.debugName() for value in graph.outputs()}
    kept: list[Any] = []
    for node in reversed(list(graph.nodes())):
        if needed & {value.debugName() for value in node.outputs()}:
            kept.append(node)
            needed |= {value.debugName() for value in node.inputs()}
    return kept[::-1]


def _layers_by_output(nodes: Sequence[Any], calls: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return value → layer: of which call each operator's output is the output."""
    layer_of: dict[str, str] = {}
    waiting = [call for call in calls if call[1] in OPERATORS]
    previous = ""
    for node in nodes:
        kind = module_kind(_operator(node))
        if kind is None or not waiting:
            continue
        if waiting[0][1] == "BatchNorm2d" != kind:
            # It is folded into the convolution before it, whose output is BatchNorm's.
            layer_of[previous] = waiting.pop(0)[0]
        previous = node.output().debugName()
        layer_of[previous], expected = waiting.pop(0)
        if expected != kind:
            break
    return layer_of


def _computed(node: Any, inputs: list[Any]) -> Any:
    """Compute one node of a TorchScript graph."""
    import torch

    match node.kind():
        case "prim::Constant":
            return node.output().toIValue()
        case "prim::ListConstruct":
            return inputs
        case "prim::TupleConstruct":
            return tuple(inputs)
        case "prim::GetAttr":
            return getattr(inputs[0], node.s("name"))
    schema = torch._C.parse_schema(node.schema())
    operator = getattr(torch.ops.aten, _operator(node))
    overload = getattr(operator, schema.overload_name or "default")
    named = {a.name: v for a, v in zip(schema.arguments, inputs, strict=True) if a.kwarg_only}
    return overload(*inputs[: len(inputs) - len(named)], **named)


def _operator(node: Any) -> str:
    return str(node.kind().removeprefix("aten::"))
