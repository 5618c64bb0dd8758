"""Compare all weights of an ONNX file with the run's by their content, whatever their names are.

Names belong to the file that is judged. So every convolution and linear layer of the trained
network is sought among the operators of the file: of those with a weight of the same shape, the
nearest one is taken, each once. In fp16 the weights have to be the rounded ones; in int8 they have
to be within half a step, as quantisation rounds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from toolchain.runtime.card import Card
from toolchain.verification.layers.weights import (
    FOLDING_ERROR,
    NEGLIGIBLE,
    Doubles,
    folded_weights,
)

if TYPE_CHECKING:
    import onnx

WEIGHTED = ("Conv", "Gemm", "MatMul")
KNOWN_OPERATORS = frozenset(
    (
        *("Conv", "Relu", "Add", "MaxPool", "ReduceMean", "GlobalAveragePool", "AveragePool"),
        *("Flatten", "Reshape", "Gemm", "MatMul", "Softmax", "Sigmoid", "BatchNormalization"),
        *("Transpose", "Cast", "Sub", "Div", "Mul", "Constant", "Identity", "Squeeze", "Unsqueeze"),
        *("CastLike", "QuantizeLinear", "DequantizeLinear"),
        *("Shape", "ReduceMin", "Concat", "Resize", "Round", "Slice", "Gather", "Mod"),
    )
)
"""What exporters make a ResNet of, with the resize of the input `image`."""
FLOAT16_ERROR = 6e-3
"""Relative: BatchNorm may be folded in float16, where variances near its eps are known to 0.4 %."""
FLOAT16_FLOOR = 2e-5
"""Values below the normal numbers of float16 are 6e-8 apart; folding scales them by up to 316."""
SAMPLED = 4096
"""Values of a weight by which the operator that has it is found; then all of them are compared."""
HALF = 0.5 + 1e-3
"""Of a step: the most that rounding moves a value, and float32 arithmetic."""
COARSEST_STEP = 1 / 40
"""Of a tensor's largest value: int8 has 63 steps on each side of 0 with 7 bits."""


@dataclass(frozen=True, eq=False)
class FileWeight:
    """The weight and bias that one operator of a file computes with."""

    operator: str
    """Its type and output."""
    weight: Doubles
    weight_step: Doubles
    """How far apart its possible values are, broadcast to it; 0 for floating point."""
    bias: Doubles | None
    bias_step: Doubles


def read_graph(path: Path, card: Card) -> onnx.GraphProto | None:
    """Return the graph of an ONNX file; None for the formats of torch.

    Their weights are compared where their operators compute.
    """
    if card.format not in ("onnx", None):
        return None
    import onnx

    return onnx.load(path, load_external_data=False).graph


def compare_weights(graph: onnx.GraphProto | None, card: Card, network: Any) -> str | None:
    """Describe the first weight of a graph that is not the run's; None where all are."""
    if graph is None:
        return None
    operators = [node for node in graph.node if node.op_type in WEIGHTED]
    expected = folded_weights(network)
    if len(operators) != len(expected):
        return f"the graph: {len(operators)} layers with weights instead of {len(expected)}"
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    found: list[FileWeight] = []
    for node in operators:
        read = _read(node, tensors, producers)
        if isinstance(read, str):
            return read
        found.append(read)
    for name, weight, bias, magnitude in expected:
        same_shape = [one for one in found if one.weight.shape == weight.shape]
        if not same_shape:
            return f"layer {name}: no operator of the file has a weight of shape {weight.shape}"
        sample = slice(None, None, max(1, weight.size // SAMPLED))
        known = weight.ravel()[sample]
        nearest = min(
            same_shape, key=lambda o: float(np.abs(o.weight.ravel()[sample] - known).sum())
        )
        found.remove(nearest)
        reason = _difference(nearest, weight, bias, magnitude, card)
        if reason is not None:
            return f"layer {name} ({nearest.operator}): {reason}"
    return None


def foreign_operator(graph: onnx.GraphProto | None) -> str | None:
    """Describe an operator of a graph that no ResNet has; None where there is none.

    It may do nothing for the inputs that are compared, and something for others.
    """
    for node in [] if graph is None else graph.node:
        if node.op_type not in KNOWN_OPERATORS or node.domain not in ("", "ai.onnx"):
            name = node.output[0][:80] if node.output else ""
            return f"the operator {node.op_type[:80]} that gives {name!r}: no file of rtl has one"
    return None


def _read(
    node: onnx.NodeProto,
    tensors: Mapping[str, onnx.TensorProto],
    producers: Mapping[str, onnx.NodeProto],
) -> FileWeight | str:
    """Return the weights of an operator, or a sentence where they are not simply in the file."""
    described = f"{node.op_type} that gives {node.output[0][:80]!r}"
    values: list[tuple[Doubles, Doubles]] = []
    for place in node.input[1:3]:
        value = _value(place, tensors, producers)
        if value is None:
            made_by = producers[place].op_type if place in producers else "nothing"
            return f"the {described}: {made_by} computes its weights; in files of rtl none does"
        values.append(value)
    if not values:
        return f"the {described}: it has no weights"
    (weight, weight_step), (bias, bias_step) = values[0], (None, np.zeros(()))
    if len(values) > 1:
        bias, bias_step = values[1]
    return FileWeight(node.op_type, weight, weight_step, bias, bias_step)


def _value(
    name: str, tensors: Mapping[str, onnx.TensorProto], producers: Mapping[str, onnx.NodeProto]
) -> tuple[Doubles, Doubles] | None:
    """Return (values, step) of a weight that is in the file, or is dequantised from one there."""
    from onnx import numpy_helper

    if name in tensors:
        array = numpy_helper.to_array(tensors[name]).astype(np.float64)
        return array, np.zeros(())
    node = producers.get(name)
    if node is None or node.op_type != "DequantizeLinear":
        return None
    if any(given not in tensors for given in node.input if given):
        return None
    arrays = [numpy_helper.to_array(tensors[given]).astype(np.float64) for given in node.input]
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    quantised = arrays[0]
    scale, zero = (_along(array, quantised.ndim, axis) for array in (*arrays[1:], np.zeros(()))[:2])
    return (quantised - zero) * scale, np.abs(scale)


def _along(values: Doubles, axes: int, axis: int) -> Doubles:
    """Return values of one axis in a shape that broadcasts along it."""
    if values.size == 1:
        return values.reshape(())
    shape = [1] * axes
    shape[axis] = -1
    return values.reshape(shape)


def _difference(
    found: FileWeight, weight: Doubles, bias: Doubles, bias_magnitude: Doubles, card: Card
) -> str | None:
    """Describe how an operator's weights differ from what this precision makes of the run's."""
    relative, floor = FOLDING_ERROR, NEGLIGIBLE * float(np.abs(weight).max(initial=0.0))
    if card.precision == "fp16":
        relative, floor = FLOAT16_ERROR, FLOAT16_FLOOR
    largest = float(np.abs(weight).max(initial=0.0))
    # A channel of zeros is quantised with the scale 1, which says nothing.
    used = np.where(found.weight != 0, found.weight_step, 0)
    coarsest = COARSEST_STEP * largest
    if float(used.max(initial=0.0)) > coarsest + floor:
        return f"its weight is quantised in steps of {float(used.max()):.2g}"
    allowed = relative * np.abs(weight) + floor + np.minimum(found.weight_step, coarsest) * HALF
    reason = _beyond(found.weight, weight, allowed, "weight")
    if reason is not None:
        return reason
    if found.bias is None:
        return "the bias is missing" if bias.any() else None
    if found.bias.shape != bias.shape:
        return f"the bias has shape {found.bias.shape} instead of {bias.shape}"
    bias_floor = NEGLIGIBLE * float(bias_magnitude.max(initial=0.0))
    allowed = relative * bias_magnitude + max(floor, bias_floor) + found.bias_step * HALF
    return _beyond(found.bias, bias, allowed, "bias")


def _beyond(
    found: Doubles, expected: Doubles, allowed: NDArray[np.float64], what: str
) -> str | None:
    """Describe the values that are further off than allowed; NaN always is."""
    distance = np.abs(found - expected)
    beyond = ~(distance <= allowed)
    if not beyond.any():
        return None
    place = np.unravel_index(int(np.where(beyond, distance, -1).argmax()), found.shape)
    return (
        f"its {what} differs in {int(beyond.sum())} of {found.size} values, the most in "
        f"{list(map(int, place))}: {found[place]:.4g} instead of {expected[place]:.4g}"
    )
