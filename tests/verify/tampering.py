"""Ways in which a model file can be wrong, each done to a real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from toolchain.runtime.card import CARD_KEY, Card, decode_card, encode_card

Tampering = Callable[[onnx.ModelProto], None]


def tampered(model: Path, path: Path, tampering: Tampering) -> Path:
    """Write the model again, tampered with; what is not touched stays, the card included."""
    content = onnx.load(model)
    tampering(content)
    path.write_bytes(content.SerializeToString())
    return path


def card_in(content: onnx.ModelProto) -> Card:
    [text] = [entry.value for entry in content.metadata_props if entry.key == CARD_KEY]
    return decode_card(text, source="model")


def put_card(content: onnx.ModelProto, card: Card) -> None:
    """Replace the card inside."""
    del content.metadata_props[:]
    content.metadata_props.add(key=CARD_KEY, value=encode_card(card))


def card_says(**changes: Any) -> Tampering:
    """Give a tampering that replaces fields of the card and leaves the graph alone."""

    def change(content: onnx.ModelProto) -> None:
        put_card(content, msgspec.structs.replace(card_in(content), **changes))

    return change


def change_tensor(
    content: onnx.ModelProto,
    name: str,
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]],
) -> None:
    [tensor] = [t for t in content.graph.initializer if t.name.endswith(name)]
    changed = np.ascontiguousarray(change(numpy_helper.to_array(tensor).copy()))
    tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))


def one_weight(content: onnx.ModelProto) -> None:
    def change(weight: NDArray[np.float32]) -> NDArray[np.float32]:
        weight[0, 0] += 1.0
        return weight

    change_tensor(content, "fc.weight", change)


def weights_that_are_no_numbers(content: onnx.ModelProto) -> None:
    change_tensor(content, "fc.weight", lambda weight: weight * np.float32("nan"))


def other_mean(content: onnx.ModelProto) -> None:
    change_tensor(content, "classifier.mean", lambda mean: mean * 0 + np.float32(127.5))


def other_std(content: onnx.ModelProto) -> None:
    change_tensor(content, "classifier.std", lambda std: std * 0 + np.float32(127.5))


def blue_first(content: onnx.ModelProto) -> None:
    """Take the channels as B, G, R."""
    graph = content.graph
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == "pixels":
                node.input[i] = "swapped"
    graph.initializer.append(helper.make_tensor("bgr", TensorProto.INT64, [3], [2, 1, 0]))
    graph.node.insert(0, helper.make_node("Gather", ["pixels", "bgr"], ["swapped"], axis=3))


def other_order_of_outputs(content: onnx.ModelProto) -> None:
    for name in ("fc.weight", "fc.bias"):
        change_tensor(content, name, lambda rows: rows[[1, 2, 0]])


def other_order_on_the_card(content: onnx.ModelProto) -> None:
    first, *others = card_in(content).classes
    card_says(classes=(*others, first))(content)


def hotter_softmax(content: onnx.ModelProto) -> None:
    """Divide the logits by 2 before the softmax, and nowhere else."""
    graph = content.graph
    [softmax] = [node for node in graph.node if node.op_type == "Softmax"]
    graph.initializer.append(helper.make_tensor("two", TensorProto.FLOAT, [], [2.0]))
    place = list(graph.node).index(softmax)
    graph.node.insert(place, helper.make_node("Div", [softmax.input[0], "two"], ["halved"]))
    softmax.input[0] = "halved"


def batch_of_one(content: onnx.ModelProto) -> None:
    for value in (*content.graph.input, *content.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def one_class_more(content: onnx.ModelProto) -> None:
    """Give the model a fourth class, and a card without a proof that names it."""
    for name in ("fc.weight", "fc.bias"):
        change_tensor(content, name, lambda rows: np.concatenate([rows, rows[:1]]))
    for value in content.graph.output:
        value.type.tensor_type.shape.dim[1].dim_value = 4
    for tensor in content.graph.value_info:
        dims = tensor.type.tensor_type.shape.dim
        if tensor.name.endswith("fc.weight"):
            dims[0].dim_value = 4
    card_says(classes=(*card_in(content).classes, "extra"), proof=None)(content)
