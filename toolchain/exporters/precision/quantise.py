"""int8: static quantisation with onnxruntime's tools, and which layers cost the most.

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
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from toolchain.backends.layer_names import NETWORK
from toolchain.exporters.precision.options import Method
from toolchain.runtime.card import Card, Task
from toolchain.runtime.model_inputs import Floats, ModelOutputs, Pixels, run_on_pixels

METHODS: dict[Method, CalibrationMethod] = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
WEIGHTED = ("Conv", "Gemm")
OPERATORS = (*WEIGHTED, "Add", "MaxPool", "ReduceMean", "Relu")
"""What is quantised: all between the normalisation and the logits."""
BATCH = 8


class Quantiser:
    """A float32 model with its activations' ranges, ready to be quantised in several ways."""

    def __init__(self, model: onnx.ModelProto, card: Card, pixels: Pixels, method: Method) -> None:
        self.model = model
        self.layers = _layers(model.graph)
        with _quiet():
            self.ranges = _ranges(model, card, pixels, method)

    def quantised(self, kept_float: Iterable[str] = ()) -> onnx.ModelProto:
        """Return the model in int8, but for some layers."""
        return self._with(set(self.layers).difference(kept_float))

    def only(self, layer: str) -> onnx.ModelProto:
        """Return the model in float32, but for one layer."""
        return self._with({layer})

    def _with(self, layers: set[str]) -> onnx.ModelProto:
        copied = onnx.ModelProto()
        copied.CopyFrom(self.model)
        with _quiet():
            quantiser = QDQQuantizer(
                copied,
                per_channel=True,
                reduce_range=True,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=copy.deepcopy(self.ranges),  # it is adjusted to what is quantised
                nodes_to_quantize=[name for layer in layers for name in self.layers[layer]],
                nodes_to_exclude=[],
                op_types_to_quantize=list(OPERATORS),
                # The logits stay in float: in 256 steps, ties would be everywhere.
                extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
            )
            quantiser.quantize_model()
            quantiser.model.topological_sort()  # nodes were appended as they came
        made: onnx.ModelProto = quantiser.model.model
        return made


def most_harmful(
    quantiser: Quantiser,
    answers: Callable[[onnx.ModelProto], ModelOutputs],
    task: Task,
    layers: Iterable[str],
) -> list[str]:
    """Return the layers, those first that cost the answers the most.

    Measured: each layer alone is quantised, and the error of the logits is taken. The other way
    round, with each left in float, two layers that both ruin the logits would hide each other.
    `answers` computes a model's outputs for some images.
    """

    def decisive(model: onnx.ModelProto) -> Floats:
        _, logits = answers(model)
        # What all classes have in common changes no probability.
        return logits if task == "multi-label" else logits - logits.mean(axis=1, keepdims=True)

    reference = decisive(quantiser.model)
    error = {
        layer: float(np.square(decisive(quantiser.only(layer)) - reference).mean())
        for layer in layers
    }
    return sorted(error, key=lambda layer: -error[layer])


def _layers(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """Return the nodes of each layer, by torch's name: that with its weights, and those behind it.

    A tensor is quantised if any node that touches it is. So what follows a convolution, up to the
    next one, must stay in float with it, or its output would not.
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
    """Run the training images and note the range of each activation."""
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

        def collect(given: NDArray[Any]) -> list[Floats]:
            calibrator.collect_data(_Once({card.input: given}))
            return []

        # Batch by batch, because the tools keep every activation of what they are given at once.
        for start in range(0, len(pixels), BATCH):
            run_on_pixels(collect, pixels[start : start + BATCH], card)
        found: TensorsData = calibrator.compute_data()
    return found


class _Once(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """One batch, as the tools want to be fed."""

    def __init__(self, feed: dict[str, NDArray[Any]]) -> None:
        self._left = [feed]

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return self._left.pop() if self._left else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow what the tools print and log; errors still come through."""
    root, swallow = logging.getLogger(), logging.NullHandler()
    root.addHandler(swallow)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.removeHandler(swallow)
