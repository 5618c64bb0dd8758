"""Intermediate outputs of a .pt2 file, which keeps the names of torch's modules."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.backends.layer_names import NORMALISE, call_name, layer_name
from toolchain.backends.pt2 import load_program
from toolchain.runtime.card import LOGITS, Card
from toolchain.verification.layers.outputs import LayerOutput
from toolchain.verification.layers.torch_operators import (
    copied,
    operator_weights,
    operator_with_mode,
    run_recorded,
)


def program_layers(path: Path, card: Card, pixels: NDArray[np.uint8]) -> list[LayerOutput]:
    """Return the outputs of the modules that a .pt2 file names, in the order of its nodes."""
    import torch

    module = load_program(path).module()
    assert isinstance(module, torch.fx.GraphModule)
    layer_of = _layers_by_last_node(module)

    class Recorder(torch.fx.Interpreter):
        """Computes the graph node by node and keeps the outputs of its layers."""

        def __init__(self) -> None:
            super().__init__(module)
            self.layers: list[LayerOutput] = []

        def run_node(self, n: torch.fx.Node) -> Any:
            given, _ = self.fetch_args_kwargs_from_env(n)
            if n.op == "output":
                self.layers.append(LayerOutput(LOGITS, "output", copied(given[0][1])))
            if n.name not in layer_of:
                return super().run_node(n)
            if not self.layers:
                self.layers.append(LayerOutput(NORMALISE, "its input", copied(given[0])))
            operator = str(n.target).split(".")[1]
            weights = operator_weights(operator, given)
            result = super().run_node(n)
            words = operator_with_mode(operator, given)
            self.layers.append(LayerOutput(layer_of[n.name], words, copied(result), weights))
            return result

    def compute(given: torch.Tensor) -> list[LayerOutput]:
        recorder = Recorder()
        recorder.run(given)
        return recorder.layers

    return run_recorded(compute, card, pixels)


def _layers_by_last_node(module: Any) -> dict[str, str]:
    """Return node → layer for the last node of each module's call: its output is the layer's.

    Nodes of the same module that follow one another are one call.
    """
    calls: Counter[str] = Counter()
    layer_of: dict[str, str] = {}
    previous: str | None = None
    for node in module.graph.nodes:
        if node.op != "call_function":
            continue
        stack = list(node.meta.get("nn_module_stack", {}).values())
        path = str(stack[-1][0]) if stack else ""
        name = layer_name(path)
        if name is None:
            previous = None
            continue
        if path != previous:
            calls[name] += 1
        call = call_name(name, calls[name])
        layer_of = {earlier: layer for earlier, layer in layer_of.items() if layer != call}
        layer_of[node.name] = call
        previous = path
    return layer_of
