"""int8 quantisation of a graph: calibration, what is quantised, and which layers it harms."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from tests.verification.tampering import card_in, change_tensor
from toolchain.exporters.precision.options import Method
from toolchain.exporters.precision.quantise import Quantiser, most_harmful
from toolchain.runtime.card import Card, Task
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.runtime.model_inputs import ModelOutputs

Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def content(model: Path) -> onnx.ModelProto:
    return onnx.load(model)


@pytest.fixture(scope="module")
def card(content: onnx.ModelProto) -> Card:
    return card_in(content)


@pytest.fixture(scope="module")
def training(stripes: Path, card: Card) -> Pixels:
    """Ten training images, of all classes."""
    paths = sorted((stripes / "train").rglob("0[0-3].jpg"))[:10]
    given = card.preprocessing
    return np.stack([preprocess(read_image(path, given), given) for path in paths])


@pytest.fixture(scope="module")
def int8_by_minmax(content: onnx.ModelProto, card: Card, training: Pixels) -> onnx.ModelProto:
    """The model in int8, calibrated by minimum and maximum."""
    return Quantiser(content, card, training, "minmax").quantised()


def outputs_of(model: onnx.ModelProto, pixels: Pixels) -> ModelOutputs:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    probabilities, logits = session.run(["probabilities", "logits"], {"pixels": pixels})
    return ModelOutputs(probabilities, logits)


def logits_of(model: onnx.ModelProto, pixels: Pixels) -> NDArray[np.float32]:
    return outputs_of(model, pixels)[1]


def scales(model: onnx.ModelProto) -> dict[str, float]:
    """Return the scale of each quantised activation."""
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    return {
        node.input[0]: float(numpy_helper.to_array(values[node.input[1]]))
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }


def weighted(model: onnx.ModelProto) -> dict[str, str]:
    """Return the type of the weights of each convolution and of the last layer."""
    behind = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return {
        node.name: "int8" if node.input[1] in behind else "float"
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm")
    }


def test_all_layers_are_quantised_and_the_logits_are_not(
    content: onnx.ModelProto, card: Card, training: Pixels
) -> None:
    quantiser = Quantiser(content, card, training, "minmax")
    assert len(quantiser.layers) == 21
    assert {"conv1", "layer1.0.conv1", "layer2.0.downsample.0", "fc"} <= set(quantiser.layers)
    made = quantiser.quantised()
    onnx.checker.check_model(made, full_check=True)
    assert set(weighted(made).values()) == {"int8"}
    assert not {"logits", "probabilities", "pixels"} & set(scales(made))
    types = {tensor.data_type for tensor in made.graph.initializer}
    assert onnx.TensorProto.INT8 in types  # weights
    for tensor in made.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4:
            values = numpy_helper.to_array(tensor)
            assert np.abs(values.astype(int)).max() <= 64  # seven bits
    difference = np.abs(logits_of(made, training) - logits_of(content, training)).max()
    assert 0 < difference < 0.05 * np.abs(logits_of(content, training)).max()


def test_a_layer_left_in_float_keeps_its_weights_and_its_output(
    content: onnx.ModelProto, card: Card, training: Pixels
) -> None:
    made = Quantiser(content, card, training, "minmax").quantised(["layer1.0.conv1", "fc"])
    kinds = weighted(made)
    assert {name for name, kind in kinds.items() if kind == "float"} == {"layer1.0.bn1", "fc"}
    # Two adjacent layers in float: nothing between them is quantised.
    adjacent = Quantiser(content, card, training, "minmax").quantised(
        ["layer1.0.conv1", "layer1.0.conv2"]
    )
    assert not {"layer1.0.bn1", "layer1.0.relu"} & set(scales(adjacent))
    assert "maxpool" in scales(adjacent) or "relu" in scales(adjacent)


def test_one_layer_alone_can_be_quantised(
    content: onnx.ModelProto, card: Card, training: Pixels
) -> None:
    made = Quantiser(content, card, training, "minmax").only("layer3.0.conv1")
    assert [name for name, kind in weighted(made).items() if kind == "int8"] == ["layer3.0.bn1"]


@pytest.mark.parametrize("batch", [None, 4, 16])
def test_every_image_is_calibrated_on_whatever_the_batch(
    content: onnx.ModelProto, card: Card, training: Pixels, batch: int | None
) -> None:
    # Ten images are no multiple of any batch; the last one alone reaches the ends of the range.
    pixels = np.full_like(training, 128)
    pixels[-1] = training[-1]
    fixed = msgspec.structs.replace(card, batch=batch)
    found = scales(Quantiser(content, fixed, pixels, "minmax").quantised())
    alone = scales(Quantiser(content, card, pixels[-2:], "minmax").quantised())
    assert found == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_each_method_finds_ranges_without_printing(
    content: onnx.ModelProto,
    card: Card,
    training: Pixels,
    int8_by_minmax: onnx.ModelProto,
    capfd: pytest.CaptureFixture[str],
    method: Method,
) -> None:
    handlers = list(logging.getLogger().handlers)
    made = Quantiser(content, card, training, method).quantised()
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger().handlers == handlers
    widest, found = scales(int8_by_minmax), scales(made)
    assert found.keys() == widest.keys()
    assert all(found[name] <= widest[name] * 1.01 for name in found)
    assert (found != widest) is (method != "minmax")
    expected = logits_of(content, training)
    assert (logits_of(made, training).argmax(1) == expected.argmax(1)).all()


def test_quantising_once_does_not_change_the_next_time(
    content: onnx.ModelProto, card: Card, training: Pixels
) -> None:
    quantiser = Quantiser(content, card, training, "minmax")
    before = content.SerializeToString()
    first = quantiser.quantised().SerializeToString()
    quantiser.only("fc"), quantiser.quantised(["conv1"])
    assert quantiser.quantised().SerializeToString() == first
    assert content.SerializeToString() == before


def test_a_block_whose_weights_are_zero_is_quantised(
    content: onnx.ModelProto, card: Card, training: Pixels
) -> None:
    """As in a last block that starts as the identity: its second BatchNorm has scale 0."""
    silent = onnx.ModelProto()
    silent.CopyFrom(content)
    change_tensor(silent, "layer4.1.conv2.weight", np.zeros_like)
    [convolution] = [node for node in silent.graph.node if node.name == "layer4.1.bn2"]
    del convolution.input[2:]  # the exporter leaves a bias of zeros away
    made = Quantiser(silent, card, training, "minmax").quantised()
    found, expected = logits_of(made, training), logits_of(silent, training)
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def with_extreme_channel(content: onnx.ModelProto, block: str, factor: float) -> onnx.ModelProto:
    """Return a model of equal outputs, with one very large channel between two convolutions."""
    made = onnx.ModelProto()
    made.CopyFrom(content)

    def larger(values: NDArray[np.float32]) -> NDArray[np.float32]:
        values[0] *= factor
        return values

    def smaller(values: NDArray[np.float32]) -> NDArray[np.float32]:
        values[:, 0] /= factor
        return values

    change_tensor(made, f"{block}.conv1.weight", larger)
    change_tensor(made, f"{block}.conv1.weight_bias", larger)
    change_tensor(made, f"{block}.conv2.weight", smaller)
    return made


def test_the_most_harmful_layers_are_ranked_first(
    content: onnx.ModelProto, card: Card, training: Pixels
) -> None:
    strange = content
    for block in ("layer1.0", "layer3.1"):
        strange = with_extreme_channel(strange, block, 4096.0)
    expected = logits_of(strange, training)
    np.testing.assert_allclose(expected, logits_of(content, training), atol=1e-3)
    quantiser = Quantiser(strange, card, training, "minmax")

    def error(kept: Iterable[str] = ()) -> float:
        return float(np.abs(logits_of(quantiser.quantised(kept), training) - expected).max())

    harmful = {f"{block}.conv{number}" for block in ("layer1.0", "layer3.1") for number in (1, 2)}
    others = {"conv1", "layer1.1.conv2", "layer2.0.downsample.0", "layer3.0.conv1", "fc"}
    compared = sorted(harmful | others)
    ranked = most_harmful(quantiser, lambda m: outputs_of(m, training), "single-label", compared)
    assert sorted(ranked) == compared
    assert set(ranked[:4]) == harmful
    assert error(ranked[:4]) < error() / 10


@pytest.mark.parametrize(("task", "worst"), [("single-label", "b"), ("multi-label", "a")])
def test_a_shift_of_all_logits_is_harmful_for_multi_label_only(task: Task, worst: str) -> None:
    shifts = {"float": [0, 0, 0], "a": [9, 9, 9], "b": [1, 0, -1]}

    class OneLayerAtATime:
        model = "float"

        def only(self, layer: str) -> str:
            return layer

    def given(model: str) -> ModelOutputs:
        logits = np.array([[3, 2, 1]], np.float32) + np.array([shifts[model]], np.float32)
        return ModelOutputs(logits, logits)

    ranked = most_harmful(OneLayerAtATime(), given, task, ["a", "b"])  # type: ignore[arg-type]
    assert ranked[0] == worst


def test_onnxruntime_opens_an_int8_file_without_printing(
    content: onnx.ModelProto, card: Card, training: Pixels, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    made = Quantiser(content, card, training, "minmax").quantised(["layer1.0.conv1"])
    path.write_bytes(made.SerializeToString())
    code = (
        "import sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
        "session.run(None, {'pixels': numpy.zeros((2, 64, 64, 3), numpy.uint8)})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
