"""A bare `session.run` of onnxruntime: Pillow, numpy and one image after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnxruntime
from PIL import Image

from benchmarks.peers.labellers.images import CLASSES, PIXELS, RESIZED, main

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def pixels_of(path: str) -> np.ndarray:
    """Return a photograph as float32 of shape (1, 3, 224, 224), normalised."""
    image = Image.open(path).convert("RGB")
    scale = RESIZED / min(image.size)
    width, height = (int(side * scale) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - PIXELS) // 2, (height - PIXELS) // 2
    image = image.crop((left, top, left + PIXELS, top + PIXELS))
    values = (np.asarray(image, np.float32) / 255 - MEAN) / STD
    return values.transpose(2, 0, 1)[None]


def label(model: str, paths: list[str]) -> Sequence[str]:
    """Return the label of each photograph."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    found = [session.run(None, {name: pixels_of(path)})[0] for path in paths]
    return [CLASSES[int(logits.argmax())] for logits in found]


if __name__ == "__main__":
    main(label)
