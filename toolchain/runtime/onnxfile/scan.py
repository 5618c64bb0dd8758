"""Checks an untrusted ONNX file before onnxruntime opens it, and reads its description.

A model file may come from anywhere. Older onnxruntimes read other files that a path in it names,
crash on an address, wait for a pipe, or allocate gigabytes for a few bytes. So only what rtl writes
is accepted: weights inside the file, of as many bytes as their shape needs; one graph, in
topological order, without graphs inside nodes; and no large constants computed from the weights
(`constants.py`). The bytes of the weights are not read.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from toolchain.errors import ModelFileError
from toolchain.runtime.card import CARD_KEY
from toolchain.runtime.onnxfile.constants import ConstantError, Constants
from toolchain.runtime.onnxfile.metadata import MAX_CARD_BYTES as MAX_CARD_BYTES
from toolchain.runtime.onnxfile.protobuf import Message, Wire, WireError

MAX_FIELDS = 200_000
"""An int8 ResNet-18 has about 3,000 fields, a ResNet-152 seven times as many."""
FILE_OPERATORS = frozenset({"EPContext"})
"""Operators that name another file, which the provider reads."""
MAX_METADATA_BYTES = 1 << 16
"""For all metadata beside the card, together."""
MAX_VALUES = 1 << 40
"""Values of a tensor: keeps the product of its dimensions from growing without limit."""
MAX_OPSET = 1000
"""onnxruntime truncates larger numbers to 32 bits. ONNX adds one or two opsets a year."""
MAX_DESCRIPTION_BYTES = 1 << 16
"""For the type and shape of one tensor."""

# Field numbers of onnx.proto that rtl writes. All others are refused: onnxruntime would read them,
# although they are not checked here.
MODEL_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14})
GRAPH_FIELDS = frozenset({1, 2, 5, 10, 11, 12, 13, 16})
NODE_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9})
ATTRIBUTE_FIELDS = frozenset({1, 2, 3, 4, 5, 7, 8, 9, 13, 20, 21})
TENSOR_FIELDS = frozenset({1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 14, 16})
UNSUPPORTED = {
    ("model", 20): "it holds steps of training",
    ("model", 25): "it holds functions",
    ("graph", 15): "it holds sparse weights",
    ("attribute", 6): "a node holds a graph",
    ("attribute", 11): "a node holds graphs",
    ("attribute", 22): "a node holds sparse weights",
    ("attribute", 23): "a node holds sparse weights",
    ("tensor", 6): "a weight is text",
}
"""(message, field number) → what the field means, for the error."""
NAMES = (3, 7)
"""A node's name and domain. onnxruntime may quote them in errors, so they have to be UTF-8."""
TYPED_DATA = (4, 5, 7, 10, 11)
"""Fields of a tensor that may hold its values as numbers, instead of the raw bytes of field 9."""
BITS = {
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((7, 11, 13, 14), 64),
    15: 128,
}
"""ONNX's number of a data type → bits of a value; string (8) is left out."""
TYPE_NAMES = {1: "float", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16"}

DAMAGED = "it is truncated, damaged or no ONNX file; copy or export it again"
FOREIGN_HINT = "no file of rtl has such a thing; export the model again"


class Value(msgspec.Struct, frozen=True):
    """An input or output of a graph."""

    name: str
    type: str
    """As onnxruntime writes it: `tensor(uint8)`."""
    shape: tuple[int | str | None, ...]
    """A fixed axis is a number, a free one its name or None."""


@dataclass(frozen=True)
class ModelScan:
    """The description of an ONNX file, read without running it."""

    card: str | None
    ir_version: int
    opset: int
    """The opset of ONNX's own operators."""
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: int


class ForeignError(ValueError):
    """The file is valid, but holds something that rtl does not write."""


def scan_model(path: Path) -> ModelScan:
    """Return the scan of a regular file. Raises ModelFileError where it must not be opened."""
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise WireError("the file is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return scan(data)
    except WireError as error:
        raise ModelFileError(f"{path} can't be opened: {error}", hint=DAMAGED) from error
    except (ForeignError, ConstantError) as error:
        raise ModelFileError(f"{path} can't be opened: {error}", hint=FOREIGN_HINT) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ModelFileError(f"{path} can't be opened: {reason}") from error


def scan(data: bytes | mmap.mmap) -> ModelScan:
    """Return the scan of the bytes of an ONNX file.

    Raises WireError for damaged bytes, and ForeignError or ConstantError for a graph that rtl would
    not write.
    """
    if data[:4] == b"PK\x03\x04":
        raise WireError("it is a zip archive or its beginning, not an ONNX file")
    model = Wire(data, max_fields=MAX_FIELDS).message(0, len(data))
    _require_known(model, "model", MODEL_FIELDS)
    graph = model.message(7)
    if graph is None:
        raise WireError("no graph is in it")
    _require_known(graph, "graph", GRAPH_FIELDS)
    for number in (11, 12, 13):
        _require_short(graph, number)
    weights = dict(map(_weight, graph.messages(5)))
    if len(weights) < len(graph.many(5)):
        raise ForeignError("two weights have one name")
    inputs = tuple(v for v in map(_value, graph.messages(11)) if v.name not in weights)
    constants = Constants(weights, {value.name: value.shape for value in inputs})
    for node in graph.messages(1):
        _add_node(node, constants)
    metadata, opset = _metadata(model), _opset(model)
    return ModelScan(
        card=metadata.get(CARD_KEY),
        ir_version=model.integer(1),
        opset=opset,
        inputs=inputs,
        outputs=tuple(map(_value, graph.messages(12))),
        nodes=len(graph.many(1)),
    )


def _metadata(model: Message) -> dict[str, str]:
    """Return the metadata.

    All of it has to be UTF-8: otherwise onnxruntime can't return any of it to Python.
    """
    size = sum(field.length for field in model.many(14))
    if size > MAX_CARD_BYTES + MAX_METADATA_BYTES:
        raise ForeignError(f"its metadata have {size:,} bytes")
    entries = [(e.text(1), e.text(2, max_bytes=MAX_CARD_BYTES)) for e in model.messages(14)]
    if len(dict(entries)) < len(entries):
        raise ForeignError("two entries of its metadata have one name")
    return dict(entries)


def _opset(model: Message) -> int:
    opsets = {entry.text(1): entry.integer(2) for entry in model.messages(8)}
    opset = opsets.get("", opsets.get("ai.onnx", 0))
    if not 0 < opset <= MAX_OPSET:
        raise ForeignError(f"its operators are of opset {opset}, which there is none of")
    return opset


def _add_node(node: Message, constants: Constants) -> None:
    """Check the fields of a node and add its outputs to the values of the graph."""
    _require_known(node, "node", NODE_FIELDS)
    if node.text(4) in FILE_OPERATORS:
        raise ForeignError("a node reads another file")
    for number in NAMES:
        node.text(number)
    values = 0
    integers: dict[str, int] = {}
    for attribute in node.messages(5):
        _require_known(attribute, "attribute", ATTRIBUTE_FIELDS)
        integers[attribute.text(1)] = attribute.integer(3)
        tensor = attribute.message(5)
        values += 1 if tensor is None else _elements(tensor, "a constant")
        values += sum(field.length for n in (7, 8) for field in attribute.fields.get(n, ()))
    if len(integers) < len(node.many(5)):
        raise ForeignError("two attributes of a node have one name")
    constants.add_node(node.text(4), node.texts(1), node.texts(2), integers, values)


def _weight(tensor: Message) -> tuple[str, int]:
    """Return (name, number of values) of a weight."""
    name = tensor.text(8)
    return name, _elements(tensor, f"the weight {name[:80]!r}")


def _elements(tensor: Message, what: str) -> int:
    """Return how many values a tensor has. Raises where it does not hold them all itself."""
    if 13 in tensor.fields or tensor.integer(14):
        raise ForeignError(f"{what} lies in another file")
    _require_known(tensor, "tensor", TENSOR_FIELDS)
    bits = BITS.get(tensor.integer(2))
    if bits is None:
        raise ForeignError(f"{what} is of the unknown type {tensor.integer(2)}")
    count = 1
    for side in tensor.integers(1):
        if side < 0:
            raise WireError(f"{what} has a side of {side}")
        count *= side
        if count > MAX_VALUES:
            raise WireError(f"{what} declares more than {MAX_VALUES:,} values")
    raw = tensor.one(9)
    if raw is not None:
        fits = raw.length == (count * bits + 7) // 8
    else:
        # A number takes at least one byte, which may hold two values of 4 bits.
        present = sum(field.length for n in TYPED_DATA for field in tensor.fields.get(n, ()))
        fits = count * min(bits, 8) <= present * 8
    if not fits:
        raise WireError(f"{what} declares {count:,} values and does not hold them")
    return count


def _value(described: Message) -> Value:
    """Return the name, type and shape of an input or output."""
    kind = described.message(2)
    tensor = None if kind is None else kind.message(1)
    if tensor is None:
        return Value(described.text(1), "no tensor", ())
    number, shape = tensor.integer(1), tensor.message(2)
    return Value(
        described.text(1),
        f"tensor({TYPE_NAMES.get(number, number)})",
        () if shape is None else tuple(map(_axis, shape.messages(1))),
    )


def _axis(side: Message) -> int | str | None:
    return side.integer(1) if 1 in side.fields else side.text(2) or None


def _require_short(graph: Message, number: int) -> None:
    if any(field.length > MAX_DESCRIPTION_BYTES for field in graph.many(number)):
        raise ForeignError(f"it describes a tensor in more than {MAX_DESCRIPTION_BYTES:,} bytes")


def _require_known(message: Message, what: str, known: frozenset[int]) -> None:
    for number in message.fields.keys() - known:
        unknown = f"its {what} has a field {number}, which rtl does not write"
        raise ForeignError(UNSUPPORTED.get((what, number), unknown))
