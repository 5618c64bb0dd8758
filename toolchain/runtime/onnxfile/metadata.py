"""Reads the card's text from an ONNX file, and nothing else of it."""

from __future__ import annotations

import mmap
from pathlib import Path

from toolchain.runtime.card import CARD_KEY
from toolchain.runtime.onnxfile.protobuf import Message, Wire, WireError

MAX_CARD_BYTES = 1 << 24
"""Ten times what a card of 20,000 classes and its proof needs."""
MAX_FIELDS = 10_000
METADATA = 14
"""The number of the field of a model that holds one entry of its metadata."""


def card_text(path: Path) -> str | None:
    """Return the text of the card in a file; None where it has none, or is no ONNX file."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            entries = Wire(data, max_fields=MAX_FIELDS).message(0, len(data)).messages(METADATA)
            return next((_value(entry) for entry in entries if entry.text(1) == CARD_KEY), None)
    except (OSError, ValueError, WireError):  # an empty file can't be mapped: ValueError
        return None


def _value(entry: Message) -> str:
    return entry.text(2, max_bytes=MAX_CARD_BYTES)
