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

from toolchain.backends.layer_names import LOGITS, NORMALISE
from toolchain.runtime.card import Card
from toolchain.verification.layers.trained import LayerOutput
from toolchain.verification.layers.torch_operators import (
    OPERATORS,
    array_of,
    described,
    held_by,
    kind_of,
    run_recorded,
)

if TYPE_CHECKING:
    import torch

PLAIN = ("prim::Constant", "prim::ListConstruct", "prim::TupleConstruct", "prim::GetAttr")


def script_layers(
    path: Path, card: Card, pixels: NDArray[np.uint8], calls: Sequence[tuple[str, str]]
) -> list[LayerOutput]:
    """Return the outputs of a TorchScript file's operators, named after the trained network's calls.

    `calls` are (name, kind of module). The naming ends where the file computes something else than
    the network; that operator has the name of the call in whose place it stands. A graph with
    branches or calls of its own, which rtl doesn't write, has no layers.
    """
    import torch

    module = torch.jit.load(str(path))
    nodes = list(module.inlined_graph.nodes())
    if any(not n.kind().startswith("aten::") and n.kind() not in PLAIN for n in nodes):
        return []
    names = _named(nodes, calls)
    seen: list[LayerOutput] = []

    def compute(given: torch.Tensor) -> None:
        owner, taken = module.inlined_graph.inputs()
        values: dict[str, Any] = {owner.debugName(): module, taken.debugName(): given}
        for node in nodes:
            inputs = [values[value.debugName()] for value in node.inputs()]
            place = node.output().debugName()
            if place not in names:
                values[place] = _result(node, inputs)
                continue
            if not seen:
                seen.append(LayerOutput(NORMALISE, "its input", array_of(inputs[0])))
            operator = _operator(node)
            weights = held_by(operator, inputs)
            values[place] = _result(node, inputs)
            name = described(operator, inputs)
            seen.append(LayerOutput(names[place], name, array_of(values[place]), weights))
        given_back = values[next(module.inlined_graph.outputs()).debugName()]
        seen.append(LayerOutput(LOGITS, "output", array_of(given_back[1])))

    return run_recorded(compute, seen, card, pixels)


def _named(nodes: Sequence[Any], calls: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the name of the call whose output each operator's output is."""
    names: dict[str, str] = {}
    waiting = [call for call in calls if call[1] in OPERATORS]
    previous = ""
    for node in nodes:
        kind = kind_of(_operator(node))
        if kind is None or not waiting:
            continue
        if waiting[0][1] == "BatchNorm2d" != kind:
            # Folded into the convolution before it.
            names[previous] = waiting.pop(0)[0]
        previous = node.output().debugName()
        names[previous], expected = waiting.pop(0)
        if expected != kind:
            break
    return names


def _result(node: Any, inputs: list[Any]) -> Any:
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
