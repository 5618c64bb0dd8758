"""int8: static quantisation with onnxruntime's tools, and which layers it harms the most.

QDQ format, U8 activations, S8 weights per channel. `reduce_range` keeps 7 bits of the weights,
because processors without VNNI add two 8-bit products in 16 bits and saturate.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from toolchain.backends.layer_names import NETWORK
from toolchain.exporters.precision.options import Method
from toolchain.runtime.card import Card, Task
from toolchain.runtime.model_inputs import Floats, ModelOutputs, Pixels, graph_inputs

METHODS: dict[Method, CalibrationMethod] = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
WEIGHTED = ("Conv", "Gemm")
OPERATORS = (*WEIGHTED, "Add", "MaxPool", "ReduceMean", "Relu")
"""Operators that are quantised: all between the normalisation and the logits."""
BATCH = 8
"""Images that are calibrated at once."""


class Quantiser:
    """A float32 model with the ranges of its activations, which can be quantised repeatedly."""

    def __init__(self, model: onnx.ModelProto, card: Card, pixels: Pixels, method: Method) -> None:
        self.model = model
        self.layers = _layers(model.graph)
        with _quiet():
            self.ranges = _ranges(model, card, pixels, method)

    def quantised(self, kept_float: Iterable[str] = ()) -> onnx.ModelProto:
        """Return the model in int8, but for the layers that are kept in float."""
        return self._with_quantised(set(self.layers).difference(kept_float))

    def only(self, layer: str) -> onnx.ModelProto:
        """Return the model in float32, but for one layer, which is in int8."""
        return self._with_quantised({layer})

    def _with_quantised(self, layers: set[str]) -> onnx.ModelProto:
        copied = onnx.ModelProto()
        copied.CopyFrom(self.model)
        with _quiet():
            quantiser = QDQQuantizer(
                copied,
                per_channel=True,
                reduce_range=True,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=copy.deepcopy(self.ranges),  # the quantizer changes it
                nodes_to_quantize=[name for layer in layers for name in self.layers[layer]],
                nodes_to_exclude=[],
                op_types_to_quantize=list(OPERATORS),
                # The logits stay in float: with 256 steps, many classes would tie.
                extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
            )
            quantiser.quantize_model()
            quantiser.model.topological_sort()  # its new nodes are at the end
        quantised: onnx.ModelProto = quantiser.model.model
        return quantised


def most_harmful(
    quantiser: Quantiser,
    outputs_of: Callable[[onnx.ModelProto], ModelOutputs],
    task: Task,
    layers: Iterable[str],
) -> list[str]:
    """Return the layers, sorted by how much the logits change when the layer is quantised.

    Each layer is quantised alone, and the mean squared error of the logits is measured. The other
    way round, with one layer at a time left in float, two layers that both ruin the logits would
    hide each other. `outputs_of` computes a model's outputs for some images.
    """

    def compared_logits(model: onnx.ModelProto) -> Floats:
        _, logits = outputs_of(model)
        # A shift of all logits alike changes no softmax, but does change the sigmoid of each.
        return logits if task == "multi-label" else logits - logits.mean(axis=1, keepdims=True)

    reference = compared_logits(quantiser.model)
    error = {
        layer: float(np.square(compared_logits(quantiser.only(layer)) - reference).mean())
        for layer in layers
    }
    return sorted(error, key=lambda layer: error[layer], reverse=True)


def _layers(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """Return the nodes of each layer by torch's name: the node with the weights and its followers.

    onnxruntime quantises a tensor if any node that reads or writes it is quantised. So the nodes
    after a convolution, up to the next one, must stay in float with it, or its output would not.
    """
    layers: dict[str, list[str]] = {}
    last: list[str] = []
    for node in graph.node:
        if node.op_type in WEIGHTED:
            weight = node.input[1]
            last = layers[weight.removeprefix(f"{NETWORK}.").removesuffix(".weight")] = []
        if node.op_type in OPERATORS:
            last.append(node.name)
    return layers


def _ranges(model: onnx.ModelProto, card: Card, pixels: Pixels, method: Method) -> TensorsData:
    """Return the range of each activation over the pixels, uint8 [images, size, size, 3]."""
    with tempfile.TemporaryDirectory(prefix="rtl-calibration-") as folder:
        path = Path(folder) / "float.onnx"
        path.write_bytes(model.SerializeToString())
        calibrator = create_calibrator(
            path,
            list(OPERATORS),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            calibrate_method=METHODS[method],
        )
        calibrator.set_execution_providers(["CPUExecutionProvider"])

        if method == "minmax":
            # In one call, which keeps two numbers of each tensor and batch: the ranges of several
            # calls can't be merged in onnxruntime 1.18.
            calibrator.collect_data(_Batches(_batches(pixels, card)))
        else:
            # In a call for each batch, because all activations of one call are kept in memory.
            for batch in _batches(pixels, card):
                calibrator.collect_data(_Batches(iter([batch])))
        ranges: TensorsData = calibrator.compute_data()
    for node in model.graph.node:
        if node.op_type == "Softmax":
            # Before 1.20 onnxruntime's quantiser sets this range itself, and fails where none is.
            whole = TensorData(lowest=np.float32(0), highest=np.float32(1))
            ranges.data.setdefault(node.output[0], whole)
    return ranges


def _batches(pixels: Pixels, card: Card) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the graph's input for `BATCH` images after another, or as many as it takes."""
    for start in range(0, len(pixels), BATCH):
        for given, _ in graph_inputs(pixels[start : start + BATCH], card):
            yield {card.input: given}


class _Batches(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Reads batches, then reports the end of the data."""

    def __init__(self, batches: Iterator[dict[str, NDArray[Any]]]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._batches, None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the tools print and log; errors are still raised."""
    # With a handler on the root, logging does not print to standard error as a last resort.
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.removeHandler(handler)
