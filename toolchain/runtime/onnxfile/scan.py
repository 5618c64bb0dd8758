"""Looks an ONNX file over before onnxruntime opens it, and reads what it says about itself.

A model file may come from anywhere. Older onnxruntimes read the file that a path in it names, crash
on an address, wait for a pipe, or fill gigabytes from a few bytes. So only what rtl writes goes
through: weights that are in the file, as many bytes as their shape needs; one graph, in order,
without graphs inside nodes; and nothing computed from the weights alone that outgrows them
(`constants.py`). The file is not read whole: the weights' bytes are not touched.
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
from toolchain.runtime.onnxfile.protobuf import Message, Wire, WireError

MOST_FIELDS = 200_000
"""An int8 ResNet-18 has about 3,000, a ResNet-152 seven times that."""
OPERATORS_OF_FILES = frozenset({"EPContext"})
"""They name a file beside the model that the provider reads."""
MOST_CARD = 1 << 24
"""Bytes of a card; 20,000 classes and their proof need a tenth of it."""
MOST_VALUES = 1 << 40
"""Values of a tensor; beyond it the product of its sides is not even computed."""
MOST_OPSET = 1000
"""onnxruntime cuts larger numbers to 32 bits. ONNX adds one or two a year."""
MOST_DESCRIPTION = 1 << 16
"""Bytes that describe the type and shape of one tensor."""

# The numbers of fields in onnx.proto. Those that rtl does not write are refused, as what is not
# looked at here would still be read by onnxruntime.
MODEL_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 14})
GRAPH_FIELDS = frozenset({1, 2, 5, 10, 11, 12, 13, 16})
NODE_FIELDS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9})
ATTRIBUTE_FIELDS = frozenset({1, 2, 3, 4, 5, 7, 8, 9, 13, 20, 21})
TENSOR_FIELDS = frozenset({1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 14, 16})
FOREIGN = {
    ("model", 20): "it holds steps of training",
    ("model", 25): "it holds functions",
    ("graph", 15): "it holds sparse weights",
    ("attribute", 6): "a node holds a graph",
    ("attribute", 11): "a node holds graphs",
    ("attribute", 22): "a node holds sparse weights",
    ("attribute", 23): "a node holds sparse weights",
    ("tensor", 6): "a weight is text",
}
NAMES = (3, 7)
"""A node's name and domain. What onnxruntime may say has to be text, or Python can't be told."""
TYPED_DATA = (4, 5, 7, 10, 11)
"""Fields of a tensor that hold its values as numbers, where field 9 does not hold their bytes."""
BITS = {
    **dict.fromkeys((21, 22, 23), 4),
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),
    **dict.fromkeys((4, 5, 10, 16), 16),
    **dict.fromkeys((1, 6, 12), 32),
    **dict.fromkeys((7, 11, 13, 14), 64),
    15: 128,
}
"""Bits of a value, by ONNX's number of its type; text (8) is left out."""
TYPE_NAMES = {1: "float", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16"}

DAMAGED = "it is truncated, damaged or no ONNX file; copy or export it again"
NOT_OURS = "no file of rtl has such a thing; export the model again"


class Value(msgspec.Struct, frozen=True):
    """An input or output of a graph."""

    name: str
    type: str
    """As onnxruntime writes it: `tensor(uint8)`."""
    shape: tuple[int | str | None, ...]
    """An axis is a number, or the name of what may be any number."""


@dataclass(frozen=True)
class ModelScan:
    """What an ONNX file says about itself."""

    card: str | None
    ir_version: int
    opset: int
    """Of ONNX's own operators."""
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    nodes: int


class ForeignError(ValueError):
    """The file is well formed and holds what no file of rtl does."""


def scan_model(path: Path) -> ModelScan:
    """Look a regular file over; ModelFileError where it is damaged or not to be opened."""
    try:
        with path.open("rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise WireError("the file is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return scan(data)
    except WireError as error:
        raise ModelFileError(f"{path} can't be opened: {error}", hint=DAMAGED) from error
    except (ForeignError, ConstantError) as error:
        raise ModelFileError(f"{path} can't be opened: {error}", hint=NOT_OURS) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ModelFileError(f"{path} can't be opened: {reason}") from error


def scan(data: bytes | mmap.mmap) -> ModelScan:
    """Look the bytes of an ONNX file over; WireError, ForeignError or ConstantError."""
    if data[:4] == b"PK\x03\x04":
        raise WireError("it is a zip archive or its beginning, not an ONNX file")
    model = Wire(data, most_fields=MOST_FIELDS).message(0, len(data))
    _require_known(model, "model", MODEL_FIELDS)
    graph = model.message(7)
    if graph is None:
        raise WireError("no graph is in it")
    _require_known(graph, "graph", GRAPH_FIELDS)
    for described in (11, 12, 13):
        _require_short(graph, described)
    weights = dict(map(_weight, graph.messages(5)))
    if len(weights) < len(graph.many(5)):
        raise ForeignError("two weights have one name")
    inputs = tuple(v for v in map(_value, graph.messages(11)) if v.name not in weights)
    constants = Constants(weights, {value.name: value.shape for value in inputs})
    for node in graph.messages(1):
        _follow(node, constants)
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
    """Return the metadata; all of it has to be text, or onnxruntime gives none of it to Python."""
    entries = [(e.text(1), e.text(2, most=MOST_CARD)) for e in model.messages(14)]
    if len(dict(entries)) < len(entries):
        raise ForeignError("two entries of its metadata have one name")
    return dict(entries)


def _opset(model: Message) -> int:
    opsets = {entry.text(1): entry.integer(2) for entry in model.messages(8)}
    opset = opsets.get("", opsets.get("ai.onnx", 0))
    if not 0 < opset <= MOST_OPSET:
        raise ForeignError(f"its operators are of opset {opset}, which there is none of")
    return opset


def _follow(node: Message, constants: Constants) -> None:
    """Look at a node, and hand it to the one who knows what comes from the weights alone."""
    _require_known(node, "node", NODE_FIELDS)
    if node.text(4) in OPERATORS_OF_FILES:
        raise ForeignError("a node reads another file")
    for number in NAMES:
        node.text(number)
    held = 0
    numbers: dict[str, int] = {}
    for attribute in node.messages(5):
        _require_known(attribute, "attribute", ATTRIBUTE_FIELDS)
        numbers[attribute.text(1)] = attribute.integer(3)
        tensor = attribute.message(5)
        held += 1 if tensor is None else _elements(tensor, "a constant")
        held += sum(field.length for n in (7, 8) for field in attribute.fields.get(n, ()))
    if len(numbers) < len(node.many(5)):
        raise ForeignError("two attributes of a node have one name")
    constants.follow(node.text(4), node.texts(1), node.texts(2), numbers, held)


def _weight(tensor: Message) -> tuple[str, int]:
    name = tensor.text(8)
    return name, _elements(tensor, f"the weight {name[:80]!r}")


def _elements(tensor: Message, what: str) -> int:
    """Count a tensor's values, which have to be there."""
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
        if count > MOST_VALUES:
            raise WireError(f"{what} declares more than {MOST_VALUES:,} values")
    raw = tensor.one(9)
    if raw is not None:
        fits = raw.length == (count * bits + 7) // 8
    else:
        # A number takes a byte at least, which may be two values of 4 bits.
        there = sum(field.length for n in TYPED_DATA for field in tensor.fields.get(n, ()))
        fits = count * min(bits, 8) <= there * 8
    if not fits:
        raise WireError(f"{what} declares {count:,} values and does not hold them")
    return count


def _value(described: Message) -> Value:
    """Read the description of an input or output."""
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
    if any(field.length > MOST_DESCRIPTION for field in graph.many(number)):
        raise ForeignError(f"it describes a tensor in more than {MOST_DESCRIPTION:,} bytes")


def _require_known(message: Message, what: str, known: frozenset[int]) -> None:
    for number in message.fields.keys() - known:
        unknown = f"its {what} has a field {number}, which rtl does not write"
        raise ForeignError(FOREIGN.get((what, number), unknown))
