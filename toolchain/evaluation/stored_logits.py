"""The logits of an evaluation, kept beside its JSON: what curves over all thresholds need."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.files import write_bytes

MOST_VALUES = 25_000_000
"""Of more logits than these, 100 MB, no file is kept."""


def write_logits(path: Path, logits: NDArray[np.float32]) -> None:
    """Write logits float32 [images, classes] as `.npy`; remove an older file where they are many.

    Raises OSError where the file can't be written.
    """
    if logits.size > MOST_VALUES:
        path.unlink(missing_ok=True)
        return
    content = io.BytesIO()
    np.save(content, logits, allow_pickle=False)
    write_bytes(path, content.getvalue())


def read_logits(path: Path, images: int, classes: int) -> NDArray[np.float32] | None:
    """Return the logits float32 [images, classes] in a file; None where it has no such array."""
    try:
        logits = np.load(path, allow_pickle=False)
    except Exception:  # a damaged header is parsed as Python, which raises errors of many classes
        return None
    fits = isinstance(logits, np.ndarray) and logits.shape == (images, classes)
    return logits if fits and logits.dtype == np.float32 else None
