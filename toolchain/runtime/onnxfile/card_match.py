"""Checks that the card of a model file describes the graph in the same file."""

from __future__ import annotations

from toolchain.errors import ModelFileError
from toolchain.runtime.card import OUTPUT_NAMES, Card
from toolchain.runtime.onnxfile.scan import ModelScan, Value

MAX_INPUT_BYTES = 1 << 30
"""Largest input that a card may ask for: a hostile card could name any size."""
TYPES = {"pixels": "tensor(uint8)", "tensor": "tensor(float)", "image": "tensor(uint8)"}
HINT = "the card does not belong to this model; export it again"


def require_belonging(card: Card, scan: ModelScan, source: str) -> None:
    """Raise ModelFileError where the card and the graph contradict each other.

    Compared are the format, opset and IR version; name, type and axes of the input, which follow
    from the card's `input` and `batch`; and that both outputs have a column for each class.
    `source` names the file in errors.
    """
    _require_size(card, source)
    for what, in_card, in_file in (
        ("the format", card.format, "onnx"),
        ("opset", card.opset, scan.opset),
        ("IR version", card.ir_version, scan.ir_version),
    ):
        if in_card not in (None, in_file):
            message = f"the card of {source} says {what} {in_card}, it is {in_file}"
            raise ModelFileError(message, hint=HINT)
    expected = expected_input(card)
    if len(scan.inputs) != 1 or not _matches(scan.inputs[0], expected):
        found = " and ".join(map(described, scan.inputs)) or "nothing"
        raise ModelFileError(
            f"the card of {source} says that its graph takes {described(expected)}; "
            f"it takes {found}",
            hint=HINT,
        )
    _require_outputs(card, scan, source)


def _require_outputs(card: Card, scan: ModelScan, source: str) -> None:
    outputs = {value.name: value for value in scan.outputs}
    for name in OUTPUT_NAMES:
        expected = Value(name, "tensor(float)", ("batch", len(card.classes)))
        output = outputs.get(name)
        if output is None or output.type != expected.type or not _same_columns(output, expected):
            found = "nothing of that name" if output is None else described(output)
            raise ModelFileError(
                f"the card of {source} names {len(card.classes)} classes, so that its graph gives "
                f"{described(expected)}; it gives {found}",
                hint=HINT,
            )


def expected_input(card: Card) -> Value:
    """Return the input that a graph has by its card; an axis with a name may have any length."""
    side, batch = card.preprocessing.size, card.batch or "batch"
    shapes: dict[str, tuple[int | str, ...]] = {
        "pixels": (batch, side, side, 3),
        "tensor": (batch, 3, side, side),
        "image": ("height", "width", 3),
    }
    return Value(card.input, TYPES[card.input], shapes[card.input])


def described(value: Value) -> str:
    """Return an input or output as text for messages.

    >>> described(Value("pixels", "tensor(uint8)", ("batch", 224, 224, 3)))
    "'pixels', uint8 [batch, 224, 224, 3]"
    """
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    axes = ", ".join("?" if axis is None else str(axis)[:20] for axis in value.shape[:8])
    return f"{value.name[:80]!r}, {kind} [{axes}]"


def _matches(found: Value, expected: Value) -> bool:
    """Return whether name, type and fixed axes are the same, and the other axes are free."""
    return (found.name, found.type, len(found.shape)) == (
        expected.name,
        expected.type,
        len(expected.shape),
    ) and all(
        axis == other if isinstance(other, int) else not isinstance(axis, int)
        for axis, other in zip(found.shape, expected.shape, strict=True)
    )


def _same_columns(found: Value, expected: Value) -> bool:
    """Return whether two values have as many axes, and the last of the same length."""
    return len(found.shape) == len(expected.shape) and found.shape[-1] == expected.shape[-1]


def _require_size(card: Card, source: str) -> None:
    """Raise ModelFileError for a card whose input would need more than MAX_INPUT_BYTES."""
    preprocessing = card.preprocessing
    side = max(preprocessing.size, preprocessing.resize_size)
    needed = side * side * 3 * (card.batch or 1) * (4 if card.input == "tensor" else 1)
    if needed > MAX_INPUT_BYTES:
        raise ModelFileError(
            f"the card of {source} asks for inputs of {needed / 1e9:,.1f} GB "
            f"({card.batch or 1} × {side} × {side} pixels)",
            hint="no model of rtl does; export it again with a smaller --batch or --image-size",
        )
