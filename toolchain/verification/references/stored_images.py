"""From image files to the reference outputs that are stored beside a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from toolchain.backends.backend import Backend
from toolchain.backends.outputs import pixels_of, run_in_batches
from toolchain.runtime.card import Card
from toolchain.runtime.image.heif import is_heif
from toolchain.runtime.stored_outputs import MOST_IMAGE_BYTES, StoredOutputs


def outputs_of_images(source: Backend, card: Card, names: Mapping[Path, str]) -> StoredOutputs:
    """Return image files with their bytes, pixels and the outputs of `source` for them.

    `names` has each image's name in reports. Raises ImageError for one that can't be read.
    """
    pixels = np.stack([pixels_of(card, path, name) for path, name in names.items()])
    probabilities, logits = run_in_batches(source, pixels)
    files = tuple(_stored_bytes(path) for path in names)
    return StoredOutputs(card.classes, tuple(names.values()), files, pixels, probabilities, logits)


def _stored_bytes(path: Path) -> bytes:
    """Return an image file, or nothing where it is large or another device may not decode it."""
    if path.stat().st_size > MOST_IMAGE_BYTES:
        return b""
    data = path.read_bytes()
    return b"" if is_heif(data) else data
