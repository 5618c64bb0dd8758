"""Intermediate outputs of a .pt2 file, which keeps the names of torch's modules."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.layer_names import LOGITS, NORMALISE, call_name, layer_name
from toolchain.backends.pt2 import load_program
from toolchain.runtime.card import Card
from toolchain.verification.layers.trained import LayerOutput
from toolchain.verification.layers.torch_operators import array_of, described, held_by, run_recorded


def program_layers(path: Path, card: Card, pixels: NDArray[np.uint8]) -> list[LayerOutput]:
    """Return the outputs of the modules that a .pt2 file remembers, in the order of its nodes."""
    import torch

    module = load_program(path).module()
    assert isinstance(module, torch.fx.GraphModule)
    last = _last_nodes(module)

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> Any:
            given, _ = self.fetch_args_kwargs_from_env(n)
            if n.op == "output":
                seen.append(LayerOutput(LOGITS, "output", array_of(given[0][1])))
            if n.name not in last:
                return super().run_node(n)
            if not seen:
                seen.append(LayerOutput(NORMALISE, "its input", array_of(given[0])))
            operator = str(n.target).split(".")[1]
            weights = held_by(operator, given)
            result = super().run_node(n)
            name = described(operator, given)
            seen.append(LayerOutput(last[n.name], name, array_of(result), weights))
            return result

    seen: list[LayerOutput] = []
    return run_recorded(lambda given: Recorder(module).run(given), seen, card, pixels)


def _last_nodes(module: Any) -> dict[str, str]:
    """Return the name of the layer that each last node of a module's call ends."""
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
