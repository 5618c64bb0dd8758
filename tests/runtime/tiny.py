"""A model of two kilobytes with a card of rtl and any kind of input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from toolchain.runtime.card import (
    CARD_KEY,
    Card,
    InputKind,
    Normalisation,
    Preprocessing,
    Weights,
    encode_card,
)

SIDE = 8
CLASSES = ("across", "aslant", "down")
AXES = {"pixels": [1, 2], "tensor": [2, 3], "image": [0, 1]}
"""Input → axes of height and width; the tiny model is linear in the mean colour."""


def tiny_card(input_kind: InputKind = "pixels", **changes: Any) -> Card:
    """Return the card of a tiny model, with the fields in `changes` replaced."""
    card = Card(
        classes=CLASSES,
        preprocessing=Preprocessing(size=SIDE, resize_size=SIDE + 1),
        normalisation=Normalisation(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        architecture="tiny",
        weights=Weights(origin="random", sha256="0" * 64),
        settings_sha256="0" * 64,
        data_sha256="0" * 64,
        versions={"rtl": "0"},
        format="onnx",
        input=input_kind,
        opset=18,
        ir_version=8,
        created="2026-01-02T03:04:05+00:00",
    )
    return msgspec.structs.replace(card, **changes)


def tiny_model(
    input_kind: InputKind = "pixels", batch: int | None = None, card: str | None = None
) -> onnx.ModelProto:
    """Return a tiny model; `card` is a text to store in place of its own card."""
    first: int | str = batch or "batch"
    shapes: dict[str, list[int | str]] = {
        "pixels": [first, SIDE, SIDE, 3],
        "tensor": [first, 3, SIDE, SIDE],
        "image": ["height", "width", 3],
    }
    given = TensorProto.FLOAT if input_kind == "tensor" else TensorProto.UINT8
    nodes = [
        helper.make_node("Cast", [input_kind], ["colour"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["colour", "axes"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "rows"], ["row"]),
        helper.make_node("Gemm", ["row", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_kind, given, shapes[input_kind])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [first, len(CLASSES)])
            for name in ("probabilities", "logits")
        ],
        [
            weight("axes", np.array(AXES[input_kind])),
            weight("rows", np.array([-1, 3])),
            weight("weight", np.eye(3, dtype=np.float32) / 64),
            weight("bias", np.zeros(3, np.float32)),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    text = encode_card(tiny_card(input_kind, batch=batch)) if card is None else card
    helper.set_model_props(model, {CARD_KEY: text})
    return model


def weight(name: str, values: NDArray[Any]) -> onnx.TensorProto:
    """Return values as a named tensor."""
    return numpy_helper.from_array(values, name)


def write(model: onnx.ModelProto, path: Path) -> Path:
    """Write a model without checking it, and return its path."""
    path.write_bytes(model.SerializeToString())
    return path
