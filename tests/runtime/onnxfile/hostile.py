"""Functions that make a tiny model file hostile, and the error that it is refused with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tests.runtime.tiny import tiny_card, tiny_model, weight, write
from toolchain import Predictor
from toolchain.errors import ModelFileError
from toolchain.runtime.card import CARD_KEY, encode_card

Tampering = Callable[[onnx.ModelProto], None]


def refusal(path: Path) -> str:
    """Return the error message, one printable line, with which a file is refused."""
    with pytest.raises(ModelFileError) as caught:
        Predictor(path)
    message = str(caught.value)
    assert str(path) in message
    assert message.isprintable()
    assert len(message) < 600
    return message


def changed(path: Path, *tamperings: Tampering) -> Path:
    """Write a tiny model with some changes, and return its path."""
    model = tiny_model()
    for tampering in tamperings:
        tampering(model)
    return write(model, path / "model.onnx")


def node(*arguments: Any, first: bool = True, **attributes: Any) -> Tampering:
    """Return a change that adds a node before all others, or after them."""

    def change(model: onnx.ModelProto) -> None:
        index = 0 if first else len(model.graph.node)
        model.graph.node.insert(index, helper.make_node(*arguments, **attributes))

    return change


def weights(**values: Any) -> Tampering:
    """Return a change that adds weights."""
    return lambda model: model.graph.initializer.extend(
        weight(name, np.asarray(value)) for name, value in values.items()
    )


def external(location: str, name: str = "outside", **more: str) -> TensorProto:
    """Return a tensor of three floats that lie in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def sparse(values: TensorProto, indices: TensorProto, side: int = 9) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=values, indices=indices, dims=[side])


def constant(**attributes: Any) -> Tampering:
    return node("Constant", [], ["value"], **attributes)


def body(*nodes: onnx.NodeProto, **more: Any) -> onnx.GraphProto:
    inputs = [
        helper.make_tensor_value_info(name, kind, [])
        for name, kind in (("i", TensorProto.INT64), ("go", TensorProto.BOOL))
    ]
    return helper.make_graph(list(nodes), "body", inputs, [], **more)


def function(name: str, *calls: str) -> Tampering:
    """Return a change that adds a function which calls others."""

    def change(model: onnx.ModelProto) -> None:
        values = ["x", *(f"v{i}" for i in range(len(calls)))]
        steps = [
            helper.make_node(call, [values[i]], [values[i + 1]], domain="own")
            for i, call in enumerate(calls)
        ]
        opsets = [helper.make_opsetid("own", 1), helper.make_opsetid("", 18)]
        made = helper.make_function("own", name, ["x"], [values[-1]], steps, opsets)
        model.functions.append(made)

    return change


def dims(*sides: int, **data: Any) -> Tampering:
    """Return a change that gives the bias another shape, and other data where `data` names some."""

    def change(model: onnx.ModelProto) -> None:
        [bias] = [t for t in model.graph.initializer if t.name == "bias"]
        del bias.dims[:]
        bias.dims.extend(sides)
        if data:
            bias.ClearField("raw_data")
            for field, value in data.items():
                setattr(bias, field, value) if field == "raw_data" else getattr(bias, field).extend(
                    value
                )

    return change


BIG = 2**33


def card_text(text: str) -> Tampering:
    return lambda model: helper.set_model_props(model, {CARD_KEY: text})


def card_with(**changes: Any) -> Tampering:
    return card_text(encode_card(tiny_card(**changes)))


DEEP = '{"schema_version": 1, "x": ' + "[" * 100_000
