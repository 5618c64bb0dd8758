"""int8: static quantisation with onnxruntime's tools, and which layers are better left in float.

QDQ format, U8 activations, S8 weights per channel. `reduce_range` keeps 7 bits of the weights,
because processors without VNNI add two 8-bit products in 16 bits and saturate.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from toolchain.runtime.card import Card
from toolchain.runtime.doors import Pixels, normalised

Method = Literal["minmax", "entropy", "percentile"]
METHODS: dict[Method, CalibrationMethod] = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
OPERATORS = ("Conv", "Gemm", "Add", "MaxPool", "ReduceMean", "Relu")
"""What is quantised: all between the normalisation and the logits."""
WEIGHTED = ("Conv", "Gemm")
BATCH = 8


@dataclass(frozen=True)
class Calibration:
    """How the ranges of activations are found."""

    images: int = 128
    method: Method = "minmax"


class Quantiser:
    """A float32 model with its activations' ranges, ready to be quantised in several ways."""

    def __init__(self, model: onnx.ModelProto, card: Card, pixels: Pixels, method: Method) -> None:
        self.model = model
        self.ranges = _ranges(model, _Reader(card, pixels), method)
        self.layers = [node.name for node in model.graph.node if node.op_type in WEIGHTED]

    def quantised(self, kept_float: tuple[str, ...] = ()) -> onnx.ModelProto:
        """Give the model in int8, but for some layers."""
        inside = [n.name for n in self.model.graph.node if n.op_type in OPERATORS and _layer(n)]
        copied = onnx.ModelProto()
        copied.CopyFrom(self.model)
        quantiser = QDQQuantizer(
            copied,
            per_channel=True,
            reduce_range=True,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=self.ranges,
            nodes_to_quantize=inside,
            nodes_to_exclude=list(kept_float),
            op_types_to_quantize=list(OPERATORS),
            # The logits stay in float: in 256 steps, ties would be everywhere.
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()  # nodes were appended as they came
        made: onnx.ModelProto = quantiser.model.model
        return made


def _layer(node: onnx.NodeProto) -> bool:
    """Say whether a node is in the network, not in the arithmetic before or behind it."""
    return not node.name.startswith(("normalise", "door."))


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Training pixels, as the quantiser's tools want to be fed."""

    def __init__(self, card: Card, pixels: Pixels) -> None:
        self._batches = self._feeds(card, pixels)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        return next(self._batches, None)

    @staticmethod
    def _feeds(card: Card, pixels: Pixels) -> Iterator[dict[str, NDArray[Any]]]:
        size = card.batch or BATCH
        for start in range(0, len(pixels) - size + 1, size):
            piece = pixels[start : start + size]
            tensor = card.input == "tensor"
            name = "tensor" if tensor else "pixels"
            yield {name: normalised(piece, card.normalisation) if tensor else piece}


def _ranges(model: onnx.ModelProto, reader: _Reader, method: Method) -> TensorsData:
    """Run the training images and note the range of each activation."""
    with tempfile.TemporaryDirectory(prefix="rtl-calibration-") as folder:
        path = Path(folder) / "float.onnx"
        path.write_bytes(model.SerializeToString())
        root = logging.getLogger()
        before = root.level
        root.setLevel(logging.ERROR)  # the tools recommend a step of their own on each call
        try:
            calibrator = create_calibrator(
                path,
                list(OPERATORS),
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=METHODS[method],
            )
            calibrator.set_execution_providers(["CPUExecutionProvider"])
            calibrator.collect_data(reader)
            found: TensorsData = calibrator.compute_data()
        finally:
            root.setLevel(before)
    return found


def most_harmful(quantiser: Quantiser, logits: Any, reference: NDArray[np.float32]) -> list[str]:
    """Give the layers, those first that cost the logits the most.

    Measured: each layer in turn is left in float, and the logits' error that remains is taken;
    `logits` computes a model's logits of some training pixels.
    """
    remaining = {
        layer: float(np.square(logits(quantiser.quantised((layer,))) - reference).mean())
        for layer in quantiser.layers
    }
    return sorted(remaining, key=lambda layer: remaining[layer])
