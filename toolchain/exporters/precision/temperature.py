"""The temperature of an int8 file: fitted to its own outputs where that makes them better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from toolchain.data.layouts import Label
from toolchain.metrics.outputs import Outputs
from toolchain.metrics.temperature import choose_temperature
from toolchain.runtime.card import LABEL_THRESHOLD, PROBABILITIES, Card
from toolchain.runtime.model_inputs import Floats
from toolchain.verification.levels.temperature import truth_of

DIVISOR = "temperature"
"""Name of the tensor, and the beginning of those beside it, in a graph that gets a division."""


def own_temperature(logits: Floats, labels: Sequence[Label], card: Card) -> float:
    """Return the temperature for a file with these logits of the validation images.

    It is the run's, unless one that is fitted to them is better for images that were left out of
    the fit. Multi-label with a threshold of its own keeps the run's, because another temperature
    would change labels.
    """
    runs = card.temperature
    if card.task == "multi-label" and card.label_threshold != LABEL_THRESHOLD:
        return runs
    chosen = list(labels)
    truth = (
        np.asarray(chosen, np.int64)
        if card.task == "single-label"
        else truth_of(chosen, logits.shape[1])
    )
    return choose_temperature(Outputs(logits, truth), instead_of=runs).value


def with_temperature(model: onnx.ModelProto, temperature: float) -> onnx.ModelProto:
    """Return a copy of a model that divides its logits by another temperature."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    place = next(i for i, node in enumerate(graph.node) if PROBABILITIES in node.output)
    last = graph.node[place]
    divisor = numpy_helper.from_array(np.asarray(temperature, np.float32), DIVISOR)
    graph.initializer.append(divisor)
    before = next((node for node in graph.node if last.input[0] in node.output), None)
    if before is not None and before.op_type == "Div":
        before.input[1] = DIVISOR
        return changed
    divided = helper.make_node("Div", [last.input[0], DIVISOR], [f"{DIVISOR}_divided"])
    divided.name = divided.output[0]
    last.input[0] = divided.output[0]
    graph.node.insert(place, divided)
    return changed
