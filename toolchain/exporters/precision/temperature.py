"""The temperature of an int8 file: fitted to its own outputs where that makes them better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from toolchain.data.layouts import Label
from toolchain.metrics.calibration import fit_temperature
from toolchain.metrics.outputs import Outputs
from toolchain.runtime.card import LABEL_THRESHOLD, PROBABILITIES, Card
from toolchain.runtime.model_inputs import Floats
from toolchain.verification.levels.temperature import losses, truth_of

DIVISOR = "temperature"
"""Name of the tensor, and the beginning of those beside it, in a graph that gets a division."""


def own_temperature(logits: Floats, labels: Sequence[Label], card: Card) -> float:
    """Return the temperature for a file with these logits of the validation images.

    It is the run's, unless one that is fitted to half of the images lowers the loss on the other
    half, both ways, by more than chance explains. Multi-label with a threshold of its own keeps the
    run's, because another temperature would change labels.
    """
    runs = card.temperature
    if card.task == "multi-label" and card.label_threshold != LABEL_THRESHOLD:
        return runs
    places = np.arange(len(labels))
    halves = [places[0::2], places[1::2]]  # images are sorted by class: each half has all classes
    if min(map(len, halves)) < 2:
        return runs
    better = np.concatenate(
        [
            _losses(logits, labels, card, runs, held_out)
            - _losses(logits, labels, card, _fitted(logits, labels, card, fitted_on), held_out)
            for fitted_on, held_out in (halves, halves[::-1])
        ]
    )
    error = float(better.std() / np.sqrt(len(better)))
    return _fitted(logits, labels, card, places) if float(better.mean()) > error else runs


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


def _fitted(logits: Floats, labels: Sequence[Label], card: Card, places: NDArray[Any]) -> float:
    chosen = [labels[i] for i in places]
    truth = (
        np.asarray(chosen, np.int64)
        if card.task == "single-label"
        else truth_of(chosen, logits.shape[1])
    )
    return fit_temperature(Outputs(logits[places], truth))


def _losses(
    logits: Floats,
    labels: Sequence[Label],
    card: Card,
    temperature: float,
    places: NDArray[Any],
) -> NDArray[Any]:
    return losses(logits[places], [labels[i] for i in places], card.task, temperature)
