"""Ways in which a model file can be wrong, each done to a real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnx.parser
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from toolchain.runtime.card import CARD_KEY, Card, decode_card, encode_card

Tampering = Callable[[onnx.ModelProto], None]


def tampered(model: Path, path: Path, tampering: Tampering) -> Path:
    """Write a copy of the model with a tampering; the rest stays, the card included."""
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
    """Return a tampering that replaces fields of the card and leaves the graph alone."""

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


def mean_for_std(content: onnx.ModelProto) -> None:
    """Swap the mean and the standard deviation."""
    for node in content.graph.node:
        for i, name in enumerate(node.input):
            other = {"classifier.mean": "classifier.std", "classifier.std": "classifier.mean"}
            node.input[i] = other.get(name, name)


def blue_first(content: onnx.ModelProto) -> None:
    """Reverse the channels to B, G, R."""
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


def scaled_weight(layer: str, factor: float) -> Tampering:
    """Return a tampering that multiplies all weights of a convolution."""

    def change(content: onnx.ModelProto) -> None:
        change_tensor(
            content, f"network.{layer}.weight", lambda weight: weight * np.float32(factor)
        )

    return change


def scaled_largest_weight(layer: str, factor: float) -> Tampering:
    """Return a tampering that multiplies one number: the largest weight of a convolution."""

    def scaled(weight: NDArray[np.float32]) -> NDArray[np.float32]:
        weight.flat[int(np.abs(weight).argmax())] *= np.float32(factor)
        return weight

    return lambda content: change_tensor(content, f"network.{layer}.weight", scaled)


def without_bias(layer: str) -> Tampering:
    """Return a tampering that drops what BatchNorm left as a convolution's bias."""

    def change(content: onnx.ModelProto) -> None:
        del node_of(content, layer).input[2]

    return change


def without_head_bias(content: onnx.ModelProto) -> None:
    change_tensor(content, "fc.bias", lambda bias: bias * 0)


def without_shortcut(content: onnx.ModelProto) -> None:
    """Add the output of the first block of layer2 to itself in place of its shortcut."""
    addition = node_of(content, "layer2.0")
    addition.input[1] = addition.input[0]


def refolded(network: nn.Module, layer: str, **changes: Callable[[Tensor], Tensor]) -> Tampering:
    """Return a tampering that folds other statistics of a block's bn1 into its conv1."""
    convolution = network.get_submodule(f"{layer}.conv1")
    norm = network.get_submodule(f"{layer}.bn1")
    tensors = {name: value.detach().clone() for name, value in norm.state_dict().items()}
    for name, change_of in changes.items():
        tensors[name] = change_of(tensors[name])
    by = tensors["weight"] / torch.sqrt(tensors["running_var"] + 1e-5)
    weight = convolution.get_parameter("weight").detach() * by[:, None, None, None]
    bias = tensors["bias"] - tensors["running_mean"] * by

    def change(content: onnx.ModelProto) -> None:
        change_tensor(content, f"{layer}.conv1.weight", lambda _: weight.numpy())
        change_tensor(content, f"{layer}.conv1.weight_bias", lambda _: bias.numpy())

    return change


def in_train_mode(network: nn.Module, layer: str) -> Tampering:
    """Return a tampering by which a BatchNorm layer uses the statistics of its batch.

    They are computed behind the convolution that the layer is folded into, with the same result.
    """
    norm = network.get_submodule(layer)
    scale, shift = (norm.get_parameter(name).detach().numpy() for name in ("weight", "bias"))
    text = """
      train (float[n, c, h, w] folded, float[c, 1, 1] scale, float[c, 1, 1] shift,
             int64[3] axes, float[1] tiny) => (float[n, c, h, w] shifted) {
        mean = ReduceMean (folded, axes)
        centred = Sub (folded, mean)
        squares = Mul (centred, centred)
        variance = ReduceMean (squares, axes)
        more = Add (variance, tiny)
        deviation = Sqrt (more)
        unit = Div (centred, deviation)
        scaled = Mul (unit, scale)
        shifted = Add (scaled, shift)
      }
    """

    def change(content: onnx.ModelProto) -> None:
        graph = content.graph
        folded = node_of(content, layer)
        place = list(graph.node).index(folded) + 1
        folded.output[0] = "folded"
        inserted = onnx.parser.parse_graph(text).node
        inserted[-1].output[0] = layer
        for i, node in enumerate(inserted):
            graph.node.insert(place + i, node)
        arrays = {
            "scale": scale[:, None, None],
            "shift": shift[:, None, None],
            "axes": np.array([0, 2, 3]),
            "tiny": np.array([1e-5], np.float32),
        }
        graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in arrays.items())

    return change


def node_of(content: onnx.ModelProto, output: str) -> onnx.NodeProto:
    node: onnx.NodeProto
    [node] = [node for node in content.graph.node if output in node.output]
    return node


def softmax_twice(content: onnx.ModelProto) -> None:
    node_of(content, "probabilities").output[0] = "once"
    again = helper.make_node("Softmax", ["once"], ["probabilities"], axis=1)
    content.graph.node.append(again)


def without_temperature(content: onnx.ModelProto) -> None:
    node_of(content, "probabilities").input[0] = "logits"


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


def flattened_to_one(content: onnx.ModelProto) -> None:
    """Flatten to a fixed batch of one in front of the last layer; the inputs still say any."""
    [flatten] = [node for node in content.graph.node if node.op_type == "Reshape"]
    change_tensor(content, flatten.input[1], lambda _: np.array([1, 512]))


def one_class_more(content: onnx.ModelProto) -> None:
    """Add a fourth class to the model and to its card, which loses its proof."""
    for name in ("fc.weight", "fc.bias"):
        change_tensor(content, name, lambda rows: np.concatenate([rows, rows[:1]]))
    for value in content.graph.output:
        value.type.tensor_type.shape.dim[1].dim_value = 4
    del content.graph.value_info[:]  # which declares three columns
    card_says(classes=(*card_in(content).classes, "extra"), proof=None)(content)


def renamed_inside(content: onnx.ModelProto) -> None:
    """Give every tensor inside the network another name."""
    graph = content.graph
    fixed = {value.name for value in (*graph.input, *graph.output)}
    names = {n for node in graph.node for n in (*node.input, *node.output) if n} - fixed
    new = {name: f"t{i}" for i, name in enumerate(sorted(names))}
    for node in graph.node:
        for places in (node.input, node.output):
            places[:] = [new.get(name, name) for name in places]
    for item in (*graph.initializer, *graph.value_info):
        item.name = new.get(item.name, item.name)


def weights_behind(operator: str, layer: str) -> Tampering:
    """Return a tampering that lets an operator that changes nothing give a layer's weights."""

    def change(content: onnx.ModelProto) -> None:
        graph = content.graph
        node = node_of(content, layer)
        known: dict[str, dict[str, Any]] = {"Cast": {"to": 1}, "Transpose": {"perm": [0, 1, 2, 3]}}
        options = known.get(operator, {})
        passed_on = helper.make_node(operator, [node.input[1]], ["passed_on"], **options)
        node.input[1] = "passed_on"
        graph.node.insert(list(graph.node).index(node), passed_on)

    return change


def clipped(layer: str, highest: float) -> Tampering:
    """Return a tampering that cuts off the values of a layer."""

    def change(content: onnx.ModelProto) -> None:
        graph = content.graph
        node = node_of(content, layer)
        node.output[0] = "whole"
        graph.initializer.append(helper.make_tensor("highest", TensorProto.FLOAT, [], [highest]))
        clip = helper.make_node("Clip", ["whole", "", "highest"], [layer])
        graph.node.insert(list(graph.node).index(node) + 1, clip)

    return change


def wrong_for_batch(size: int) -> Tampering:
    """Return a tampering that adds 1 to the logits of batches of exactly one size."""

    def change(content: onnx.ModelProto) -> None:
        logits = node_of(content, "logits")
        logits.output[0] = "right"
        text = f"""
          spoiled (float[n, c] right, uint8[n, h, w, 3] pixels) => (float[n, c] logits)
          <int64[1] bad = {{{size}}}> {{
            count = Shape <start = 0, end = 1> (pixels)
            same = Equal (count, bad)
            added = Cast <to = 1> (same)
            logits = Add (right, added)
          }}
        """
        spoiled = onnx.parser.parse_graph(text)
        place = list(content.graph.node).index(logits) + 1
        content.graph.initializer.extend(spoiled.initializer)
        for i, node in enumerate(spoiled.node):
            content.graph.node.insert(place + i, node)

    return change


def no_number_for_white(content: onnx.ModelProto) -> None:
    """Give NaN for an image that is white everywhere."""
    logits = node_of(content, "logits")
    logits.output[0] = "right"
    text = """
      spoiled (float[n, c] right, float[n, k, h, w] _to_copy) => (float[n, c] logits)
      <int64[3] axes = {1, 2, 3}, float white = {254.5}, float nought = {0.0}> {
        least = ReduceMin <keepdims = 0> (_to_copy, axes)
        over = Sub (least, white)
        kept = Max (over, nought)
        is_white = Ceil (kept)
        unwhite = Sub (is_white, is_white)
        zero = Sub (nought, is_white)
        root = Sqrt (zero)
        lost = Unsqueeze (root, one)
        logits = Add (right, lost)
      }
    """
    text = text.replace("float nought", "int64[1] one = {1}, float nought")
    spoiled = onnx.parser.parse_graph(text)
    place = list(content.graph.node).index(logits) + 1
    content.graph.initializer.extend(spoiled.initializer)
    for i, node in enumerate(spoiled.node):
        content.graph.node.insert(place + i, node)
