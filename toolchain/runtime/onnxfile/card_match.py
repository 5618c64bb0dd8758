"""Whether a card and the graph it travels with belong together."""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.errors import ModelFileError
from toolchain.runtime.card import Card
from toolchain.runtime.onnxfile.scan import ModelScan, Value

OUTPUTS = ("probabilities", "logits")
LARGEST_INPUT = 1 << 30
"""Bytes that an input may need. A card is a text: what it says costs its writer nothing."""
TYPES = {"pixels": "tensor(uint8)", "tensor": "tensor(float)", "image": "tensor(uint8)"}
HINT = "the card does not belong to this model; export it again"


def require_belonging(card: Card, scan: ModelScan, source: str) -> None:
    """Raise ModelFileError where the card says something else than the graph does.

    Looked at are the format, the input's name, type and axes by the card's door and batch, and that
    both outputs have a column for each class; `source` names the file.
    """
    _require_size(card, source)
    for what, says, has in (
        ("the format", card.format, "onnx"),
        ("opset", card.opset, scan.opset),
        ("IR version", card.ir_version, scan.ir_version),
    ):
        if says not in (None, has):
            raise ModelFileError(f"the card of {source} says {what} {says}, it is {has}", hint=HINT)
    takes = expected_input(card)
    if len(scan.inputs) != 1 or not _fits(scan.inputs[0], takes):
        found = " and ".join(map(described, scan.inputs)) or "nothing"
        raise ModelFileError(
            f"the card of {source} says that its graph takes {described(takes)}; it takes {found}",
            hint=HINT,
        )
    outputs = {value.name: value for value in scan.outputs}
    for name in OUTPUTS:
        gives = Value(name, "tensor(float)", ("batch", len(card.classes)))
        given = outputs.get(name)
        if given is None or given.type != gives.type or not _ends(given.shape, gives.shape):
            found = "nothing of that name" if given is None else described(given)
            raise ModelFileError(
                f"the card of {source} names {len(card.classes)} classes, so that its graph gives "
                f"{described(gives)}; it gives {found}",
                hint=HINT,
            )


def expected_input(card: Card) -> Value:
    """Return what a graph takes by its card; an axis with a name may be any number."""
    side, batch = card.preprocessing.size, card.batch or "batch"
    shapes: dict[str, tuple[int | str, ...]] = {
        "pixels": (batch, side, side, 3),
        "tensor": (batch, 3, side, side),
        "image": ("height", "width", 3),
    }
    return Value(card.input, TYPES[card.input], shapes[card.input])


def described(value: Value) -> str:
    """Write an input or output for a person.

    >>> described(Value("pixels", "tensor(uint8)", ("batch", 224, 224, 3)))
    "'pixels', uint8 [batch, 224, 224, 3]"
    """
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    axes = ", ".join("?" if axis is None else str(axis)[:20] for axis in value.shape[:8])
    return f"{value.name[:80]!r}, {kind} [{axes}]"


def _fits(found: Value, expected: Value) -> bool:
    """Say whether name, type and the numbers among the axes are the same, and the others free."""
    return (found.name, found.type, len(found.shape)) == (
        expected.name,
        expected.type,
        len(expected.shape),
    ) and all(
        axis == other if isinstance(other, int) else not isinstance(axis, int)
        for axis, other in zip(found.shape, expected.shape, strict=True)
    )


def _ends(shape: Sequence[object], expected: Sequence[object]) -> bool:
    """Say whether the last axis is the same, and as many are before it."""
    return len(shape) == len(expected) and shape[-1] == expected[-1]


def _require_size(card: Card, source: str) -> None:
    """Raise ModelFileError for a card whose inputs would take gigabytes."""
    preprocessing = card.preprocessing
    side = max(preprocessing.size, preprocessing.resize_size)
    needed = side * side * 3 * (card.batch or 1) * (4 if card.input == "tensor" else 1)
    if needed > LARGEST_INPUT:
        raise ModelFileError(
            f"the card of {source} asks for inputs of {needed / 1e9:,.1f} GB "
            f"({card.batch or 1} × {side} × {side} pixels)",
            hint="no model of rtl does; export it again with a smaller --batch or --image-size",
        )
