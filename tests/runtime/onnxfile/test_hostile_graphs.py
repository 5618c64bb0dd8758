"""Graphs that rtl does not write, and cards of other models, are refused with one line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.runtime.onnxfile.hostile import (
    DEEP,
    Tampering,
    body,
    card_text,
    card_with,
    changed,
    function,
    node,
    refusal,
)
from tests.runtime.tiny import SIDE, tiny_card, tiny_model, weight, write
from toolchain import Predictor
from toolchain.runtime.card import CARD_KEY, InputKind, encode_card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (node("Relu", ["late"], ["early"]), "'late', which nothing before it gives"),
        (node("Relu", ["own"], ["own"]), "'own', which nothing before it gives"),
        (node("Relu", ["colour"], ["mean"], first=False), "two nodes give 'mean'"),
        (node("Loop", ["", ""], ["v"], body=body()), "a node holds a graph"),
        (node("Own", ["weight"], ["v"], bodies=[body()]), "a node holds graphs"),
        (function("Own", "Own"), "it holds functions"),
        (function("Own", "Own", "Own"), "it holds functions"),
        (node("EPContext", ["colour"], ["v"], first=False), "a node reads another file"),
        (lambda m: m.training_info.add(), "it holds steps of training"),
        (lambda m: m.graph.initializer.append(weight("bias", np.ones(3))), "two weights have"),
        (lambda m: m.ClearField("graph"), "no graph is in it"),
    ],
)
def test_graph_that_rtl_does_not_write_is_refused(
    change: Tampering, message: str, tmp_path: Path
) -> None:
    assert message in refusal(changed(tmp_path, change))


def many_metadata(model: onnx.ModelProto) -> None:
    for number in range(4):
        model.metadata_props.add(key=f"text {number}", value="x" * 2**23)


def many_descriptions(model: onnx.ModelProto) -> None:
    model.graph.value_info.extend(onnx.ValueInfoProto() for _ in range(201_000))


def many_inputs(model: onnx.ModelProto) -> None:
    model.graph.node[0].input.extend(["x"] * 201_000)


def long_description(model: onnx.ModelProto) -> None:
    shape = model.graph.value_info.add(name="x").type.tensor_type.shape
    shape.dim.extend([onnx.TensorShapeProto.Dimension()] * 50_000)


def long_name(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "x" * 100_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (many_descriptions, "more than 200,000 fields"),
        (many_inputs, "more than 200,000 fields"),
        (long_description, "more than 65,536 bytes"),
        (long_name, "a text of 100,000 bytes"),
    ],
)
def test_file_with_too_many_or_too_long_fields_is_refused(
    change: Tampering, message: str, tmp_path: Path
) -> None:
    assert message in refusal(changed(tmp_path, change))


def opset(version: int, domain: str = "") -> Tampering:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version, model.opset_import[0].domain = version, domain
        text = encode_card(tiny_card(opset=None, ir_version=None))
        helper.set_model_props(model, {CARD_KEY: text})

    return change


def retyped(operator: str, domain: str = "") -> Tampering:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type, model.graph.node[0].domain = operator, domain

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (opset(0), "opset 0"),
        (opset(-5), "opset -5"),
        (opset(9999), "opset 9999"),
        (opset(2**32 + 18), "opset 4294967314"),
        (opset(18, "no.such"), "opset 0"),
        (opset(999), "till opset"),
        (opset(1), ""),
        (lambda m: m.ClearField("opset_import"), "opset 0"),
        (retyped("Frobnicate"), "Frobnicate"),
        (retyped("Cast", "no.such"), "no.such"),
        (retyped("Evil\x1b[31m\nhint: trust me"), "Evil [31m hint"),
        (lambda m: setattr(m, "ir_version", 999), "IR version 8, it is 999"),
    ],
)
def test_unknown_version_or_operator_is_named(
    change: Tampering, message: str, tmp_path: Path
) -> None:
    assert message in refusal(changed(tmp_path, change))


NEWER = '{"schema_version": 2}'
SIZES = tiny_card().preprocessing


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (card_text(""), "can't be read"),
        (card_text("a label of wine"), "can't be read"),
        (card_text(NEWER), "a card of version 2; this rtl reads up to 1"),
        (card_text(DEEP), "can't be read"),
        (card_text("x" * (2**24 + 1)), "a text of 16,777,217 bytes"),
        (many_metadata, "its metadata have 33,555,"),
        (lambda m: m.metadata_props.add(key=CARD_KEY, value="{}"), "have one name"),
        (lambda m: m.metadata_props.clear(), "has no rtl card"),
        (card_with(classes=("a", "b")), "2 classes, so that its graph gives 'probabilities'"),
        (card_with(format="torchscript"), "the format torchscript, it is onnx"),
        (card_with(opset=17), "opset 17, it is 18"),
        (card_with(ir_version=7), "IR version 7, it is 8"),
        (card_with(input="tensor"), "takes 'tensor', float [batch, 3, 8, 8]; it takes 'pixels'"),
        (card_with(input="image"), "takes 'image', uint8 [height, width, 3]; it takes 'pixels'"),
        (card_with(batch=3), "uint8 [3, 8, 8, 3]; it takes 'pixels', uint8 [batch, 8, 8, 3]"),
        (card_with(batch=2**40), "inputs of 267,181.3 GB"),
        (
            card_with(preprocessing=msgspec.structs.replace(SIZES, size=9)),
            "[batch, 9, 9, 3]; it takes 'pixels', uint8 [batch, 8, 8, 3]",
        ),
        (
            card_with(preprocessing=msgspec.structs.replace(SIZES, resize_size=2**31)),
            "inputs of 13,835,058,055.3 GB",
        ),
    ],
)
def test_invalid_card_or_card_of_another_model_is_refused(
    change: Tampering, message: str, tmp_path: Path
) -> None:
    assert message in refusal(changed(tmp_path, change))


def axes(*shape: int | str) -> Tampering:
    def change(model: onnx.ModelProto) -> None:
        kind = model.graph.input[0].type.tensor_type
        value = helper.make_tensor_value_info("x", kind.elem_type, list(shape))
        kind.shape.CopyFrom(value.type.tensor_type.shape)

    return change


def element(number: int) -> Tampering:
    return lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", number)


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("x", TensorProto.UINT8, [SIDE]))


def renamed_output(model: onnx.ModelProto) -> None:
    model.graph.output[1].name = model.graph.node[3].output[0] = "scores"
    model.graph.node[4].input[0] = "scores"


@pytest.mark.parametrize(
    ("input_kind", "change", "message"),
    [
        ("pixels", axes(1, SIDE, SIDE, 3), "it takes 'pixels', uint8 [1, 8, 8, 3]"),
        ("pixels", axes("batch", 3, SIDE, SIDE), "[batch, 3, 8, 8]"),
        ("pixels", axes("batch", SIDE, SIDE), "[batch, 8, 8]"),
        ("pixels", axes("batch", "h", "w", 3), "[batch, h, w, 3]"),
        ("pixels", element(TensorProto.FLOAT), "it takes 'pixels', float"),
        ("pixels", lambda m: m.graph.input[0].type.Clear(), "'pixels', no tensor []"),
        ("pixels", second_input, "[batch, 8, 8, 3] and 'x', uint8 [8]"),
        ("pixels", renamed_output, "it gives nothing of that name"),
        ("tensor", element(TensorProto.UINT8), "it takes 'tensor', uint8"),
        ("tensor", axes(4, 3, SIDE, SIDE), "it takes 'tensor', float [4, 3, 8, 8]"),
        ("image", axes("batch", "height", "width", 3), "[batch, height, width, 3]"),
        ("image", axes(640, 480, 3), "it takes 'image', uint8 [640, 480, 3]"),
    ],
)
def test_graph_with_another_input_than_its_card_says_is_refused(
    input_kind: InputKind, change: Tampering, message: str, tmp_path: Path
) -> None:
    model = tiny_model(input_kind)
    change(model)
    assert message in refusal(write(model, tmp_path / "model.onnx"))


@pytest.mark.parametrize("input_kind", ["pixels", "tensor", "image"])
@pytest.mark.parametrize("batch", [None, 3])
def test_the_tiny_model_itself_is_opened(
    input_kind: InputKind, batch: int | None, tmp_path: Path
) -> None:
    path = write(
        tiny_model(input_kind, None if input_kind == "image" else batch), tmp_path / "model.onnx"
    )
    with Predictor(path) as predictor:
        grey = np.full((9, 9, 3), 127, np.uint8)
        assert predictor(grey).probability == pytest.approx(1 / 3)
