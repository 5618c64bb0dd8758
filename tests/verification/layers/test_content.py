"""Weights are compared by content: as they are, rounded to float16, and in steps of int8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.verification import tampering
from tests.verification.planting import ExportedRun
from tests.verification.tampering import Tampering, tampered
from toolchain.runtime.card import Precision
from toolchain.verification.graph_precision import graph_precision
from toolchain.verification.layers.content import compare_weights, foreign_operator, read_graph


def quantised(layer: str = "", factor: float = 1.0, step: float = 1.0) -> Tampering:
    """Return a tampering that quantises all weights; one layer's scale may be wrong."""

    def change(content: onnx.ModelProto) -> None:
        graph = content.graph
        tensors = {t.name: t for t in graph.initializer}
        for node in [n for n in graph.node if n.op_type in ("Conv", "Gemm")]:
            name = node.input[1]
            weight = numpy_helper.to_array(tensors[name])
            largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
            by = step if name.endswith(f"{layer}.weight") else 1.0
            scale = (largest / 64 * by).astype(np.float32)
            shape = (-1,) + (1,) * (weight.ndim - 1)
            values = np.rint(weight / scale.reshape(shape)).astype(np.int8)
            if name.endswith(f"{layer}.weight"):
                scale = scale * np.float32(factor)
            graph.initializer.remove(tensors[name])
            for part, array in (("q", values), ("s", scale), ("z", np.zeros(len(scale), np.int8))):
                graph.initializer.append(numpy_helper.from_array(array, f"{name}_{part}"))
            inputs = [f"{name}_{part}" for part in "qsz"]
            dequantised = helper.make_node("DequantizeLinear", inputs, [f"{name}_d"], axis=0)
            node.input[1] = f"{name}_d"
            graph.node.insert(0, dequantised)
        del graph.value_info[:]

    return change


def in_float16(content: onnx.ModelProto) -> None:
    """Round all weights to float16; the graph can't be run, and is not."""
    for tensor in content.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(array.astype(np.float16), tensor.name))


def compared(
    exported_run: ExportedRun, path: Path, change: Tampering, precision: Precision
) -> str | None:
    changed = tampered(exported_run.file, path / "changed.onnx", change)
    card = msgspec.structs.replace(
        exported_run.trained.eager.card, format="onnx", precision=precision
    )
    assert graph_precision(changed, "onnx") == precision
    return compare_weights(read_graph(changed, card), card, exported_run.classifier.network)


def nothing(_: onnx.ModelProto) -> None:
    """Change nothing."""


def float16_and(change: Tampering) -> Tampering:
    def both(content: onnx.ModelProto) -> None:
        change(content)
        in_float16(content)

    return both


@pytest.mark.parametrize(
    ("change", "precision"), [(nothing, "fp32"), (in_float16, "fp16"), (quantised(), "int8")]
)
def test_weights_of_the_run_pass_in_each_precision(
    exported_run: ExportedRun, tmp_path: Path, change: Tampering, precision: Precision
) -> None:
    assert compared(exported_run, tmp_path, change, precision) is None


@pytest.mark.parametrize(
    ("change", "precision", "words"),
    [
        (
            tampering.scaled_largest_weight("layer3.0.conv2", 1.01),
            "fp32",
            "layer layer3.0.conv2 with layer3.0.bn2 (Conv): its weight differs in 1 of 589824",
        ),
        (
            float16_and(tampering.scaled_largest_weight("layer3.0.conv2", 1.01)),
            "fp16",
            "layer layer3.0.conv2 with layer3.0.bn2 (Conv): its weight differs in 1 of 589824",
        ),
        (
            quantised("layer2.1.conv1", factor=1.03),
            "int8",
            "layer layer2.1.conv1 with layer2.1.bn1 (Conv): its weight differs in",
        ),
        (
            quantised("layer2.1.conv1", step=8.0),
            "int8",
            "layer layer2.1.conv1 with layer2.1.bn1 (Conv): its weight is quantised in steps of",
        ),
        (tampering.without_bias("layer3.0.bn2"), "fp32", "the bias is missing"),
        (tampering.without_head_bias, "fp32", "layer fc (Gemm): its bias differs in 3 of 3"),
        (
            tampering.weights_behind("Cast", "layer1.0.bn1"),
            "fp32",
            "the Conv that gives 'layer1.0.bn1': Cast computes its weights",
        ),
        (
            tampering.weights_behind("Transpose", "layer1.0.bn1"),
            "fp32",
            "the Conv that gives 'layer1.0.bn1': Transpose computes its weights",
        ),
    ],
)
def test_a_weight_that_is_not_what_the_precision_makes_of_the_runs_is_named(
    exported_run: ExportedRun,
    tmp_path: Path,
    change: Callable[[onnx.ModelProto], None],
    precision: Precision,
    words: str,
) -> None:
    assert words in str(compared(exported_run, tmp_path, change, precision))


def test_an_operator_that_does_nothing_for_the_compared_inputs_is_named(
    exported_run: ExportedRun, tmp_path: Path
) -> None:
    card = msgspec.structs.replace(exported_run.trained.eager.card, format="onnx")
    assert foreign_operator(read_graph(exported_run.file, card)) is None
    change = tampering.clipped("layer3.0.relu", 1e9)
    path = tampered(exported_run.file, tmp_path / "changed.onnx", change)
    assert "the operator Clip that gives 'layer3.0.relu'" in str(
        foreign_operator(read_graph(path, card))
    )
