"""A model of two kilobytes, pictures of one colour, and what `rtl predict` said of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from tests.runtime.tiny import SIDE, tiny_card, tiny_model, write
from toolchain.runtime.card import encode_card

LABELS = ("across", "aslant", "down")
"""What the model says of a red, a green and a blue picture."""
COLOURS = ((200, 0, 0), (0, 200, 0), (0, 0, 200))


class Said(NamedTuple):
    """What a command left."""

    status: int
    out: bytes
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        return read_rows(self.out)


Predict = Callable[..., Said]


def read_rows(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.split(b"\n") if line]


def picture(path: Path, number: int = 0) -> Path:
    """Write a picture whose label is LABELS[number]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIDE, SIDE + 3), COLOURS[number % 3]).save(path, "PNG")
    return path


def tiny(folder: Path, **card: Any) -> Path:
    """Write the model, with fields of its card replaced."""
    text = encode_card(tiny_card(**card)) if card else None
    return write(tiny_model(card=text), folder / "tiny.onnx")
