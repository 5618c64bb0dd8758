"""A model of two kilobytes, and pictures of one colour whose labels are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from tests.runtime.tiny import SIDE, tiny_card, tiny_model, write
from toolchain.runtime.card import encode_card

LABELS = ("across", "aslant", "down")
"""The model's labels of a red, a green and a blue picture."""
COLOURS = ((200, 0, 0), (0, 200, 0), (0, 0, 200))


def picture(path: Path, number: int = 0) -> Path:
    """Write a picture whose label is LABELS[number % 3]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIDE, SIDE + 3), COLOURS[number % 3]).save(path, "PNG")
    return path


def tiny_model_file(folder: Path, **card: Any) -> Path:
    """Write the model to `folder`, with fields of its card replaced."""
    text = encode_card(tiny_card(**card)) if card else None
    return write(tiny_model(card=text), folder / "tiny.onnx")
