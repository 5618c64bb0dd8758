"""The reference outputs that are stored beside an exported file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolchain.backends.backend import Backend
from toolchain.backends.outputs import pixels_of, run_in_batches
from toolchain.runs.sampling import evenly
from toolchain.runtime.image.heif import is_heif
from toolchain.runtime.stored_outputs import (
    MOST_IMAGE_BYTES,
    MOST_STORED_IMAGES,
    StoredOutputs,
)
from toolchain.verification.references.trained_model import TrainedReference


def outputs_to_store(trained: TrainedReference, exported: Backend) -> StoredOutputs:
    """Return a few validation images with the outputs that the file must repeat elsewhere.

    They are the trained model's for fp32. A file of a lower precision differs from the trained
    model by more than from itself on another machine, so its own outputs are stored.
    """
    source = trained.eager if exported.card.precision == "fp32" else exported
    names = dict(zip(trained.paths, trained.names, strict=True))
    paths = evenly(trained.paths, MOST_STORED_IMAGES)
    pixels = np.stack([pixels_of(trained.eager.card, path, names[path]) for path in paths])
    probabilities, logits = run_in_batches(source, pixels)
    files = [_stored_bytes(path) for path in paths]
    return StoredOutputs(
        trained.eager.card.classes,
        tuple(names[path] for path in paths),
        tuple(files),
        pixels,
        probabilities,
        logits,
    )


def _stored_bytes(path: Path) -> bytes:
    """Return an image file, or nothing where it is large or another device may not decode it."""
    if path.stat().st_size > MOST_IMAGE_BYTES:
        return b""
    data = path.read_bytes()
    return b"" if is_heif(data) else data
