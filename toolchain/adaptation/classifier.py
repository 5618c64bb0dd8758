"""The classifier in the bytes of an ONNX file: found, read and replaced without the package onnx.

The last layer of a file of rtl is one `Gemm` of the pooled features with a weight and a bias. Both
are overwritten where they lie, so that nothing else in the graph can change.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelFileError
from toolchain.runtime.card import CARD_KEY, LOGITS
from toolchain.runtime.model_inputs import Floats
from toolchain.runtime.onnxfile.protobuf import BYTES, Message, Wire
from toolchain.runtime.onnxfile.scan import MAX_FIELDS

# Field numbers of onnx.proto.
GRAPH, METADATA = 7, 14
NODES, INITIALIZERS, OUTPUTS = 1, 5, 12
NODE_INPUTS, NODE_OUTPUTS, NODE_OPERATOR, NODE_ATTRIBUTES = 1, 2, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_INTEGER = 1, 3
TENSOR_AXES, TENSOR_TYPE, TENSOR_NAME, TENSOR_BYTES = 1, 2, 8, 9
KEY, VALUE = 1, 2
VALUE_NAME = 1

FLOAT32 = 1
EXPORT_HINT = "rtl export RUN makes a file in fp32, which can be adapted"


@dataclass(frozen=True)
class Tensor:
    """A float32 weight: where its values lie in the file, and its shape."""

    start: int
    end: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Classifier:
    """The last layer of a file: logits = features · weightᵀ + bias."""

    features: str
    """Name of the tensor of pooled features, float32 [batch, features]."""
    weight: Tensor
    """[classes, features]."""
    bias: Tensor
    """[classes]."""

    def read(self, data: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (weight [classes, features], bias [classes]) from the bytes of the file."""
        return _values(data, self.weight), _values(data, self.bias)


def find_classifier(data: bytes, path: Path) -> Classifier:
    """Return the classifier in the bytes of an ONNX file of rtl, which `scan` has accepted.

    Raises ModelFileError for a file whose last layer is not in float32.
    """
    graph = Wire(data, max_fields=MAX_FIELDS).message(0, len(data)).message(GRAPH)
    assert graph is not None, "the scan has found a graph"
    makers = {name: node for node in graph.messages(NODES) for name in node.texts(NODE_OUTPUTS)}
    node = makers.get(LOGITS)
    while node is not None and node.text(NODE_OPERATOR) == "Identity":
        node = makers.get(node.texts(NODE_INPUTS)[0])
    tensors = {tensor.text(TENSOR_NAME): tensor for tensor in graph.messages(INITIALIZERS)}
    inputs = node.texts(NODE_INPUTS) if node is not None else []
    found = [_float_tensor(tensors.get(name)) for name in inputs[1:]]
    if (
        node is None
        or node.text(NODE_OPERATOR) != "Gemm"
        or _integers(node).get("transB") != 1
        or len(found) != 2
        or found[0] is None
        or found[1] is None
    ):
        raise ModelFileError(
            f"{path} can't be adapted: its last layer is no layer in float32", hint=EXPORT_HINT
        )
    return Classifier(inputs[0], found[0], found[1])


def with_features_as_output(data: bytes, classifier: Classifier) -> bytes:
    """Return the bytes of a graph whose outputs are the logits and others, then the features.

    Two values of a message in protobuf are merged, so an output is added by bytes at the end.
    """
    output = _field(OUTPUTS, _field(VALUE_NAME, classifier.features.encode()))
    return data + _field(GRAPH, output)


def replaced(data: bytes, classifier: Classifier, weight: Floats, bias: Floats, card: str) -> bytes:
    """Return the bytes of the file with another weight, bias and card, and the same graph."""
    made = bytearray(data)
    for tensor, values in ((classifier.weight, weight), (classifier.bias, bias)):
        assert values.shape == tensor.shape
        made[tensor.start : tensor.end] = np.ascontiguousarray(values, "<f4").tobytes()
    start, end = _card_entry(data)
    del made[start:end]
    entry = _field(KEY, CARD_KEY.encode()) + _field(VALUE, card.encode())
    return bytes(made) + _field(METADATA, entry)


def _card_entry(data: bytes) -> tuple[int, int]:
    """Return where the entry with the card begins and ends in a file, with its tag and length."""
    model = Wire(data, max_fields=MAX_FIELDS).message(0, len(data))
    for place, entry in zip(model.many(METADATA), model.messages(METADATA), strict=True):
        if entry.text(KEY) == CARD_KEY:
            head = len(_field(METADATA, b"")) - 1 + len(_varint(place.length))
            start = place.value - head
            assert data[start : place.value] == _tag(METADATA) + _varint(place.length)
            return start, place.end
    raise AssertionError("the card has been read from this file")


def _float_tensor(tensor: Message | None) -> Tensor | None:
    """Return a weight whose values are raw float32; None for any other."""
    if tensor is None or tensor.integer(TENSOR_TYPE) != FLOAT32:
        return None
    raw = tensor.one(TENSOR_BYTES)
    if raw is None:
        return None
    return Tensor(raw.value, raw.end, tuple(tensor.integers(TENSOR_AXES)))


def _integers(node: Message) -> dict[str, int]:
    attributes = node.messages(NODE_ATTRIBUTES)
    return {a.text(ATTRIBUTE_NAME): a.integer(ATTRIBUTE_INTEGER) for a in attributes}


def _values(data: bytes, tensor: Tensor) -> NDArray[np.float64]:
    values = np.frombuffer(data[tensor.start : tensor.end], "<f4").reshape(tensor.shape)
    return values.astype(np.float64)


def _field(number: int, value: bytes) -> bytes:
    return _tag(number) + _varint(len(value)) + value


def _tag(number: int) -> bytes:
    return _varint(number << 3 | BYTES)


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)
