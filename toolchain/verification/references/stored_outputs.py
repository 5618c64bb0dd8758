"""Reference outputs: a few real images and what the trained model said about them.

They travel beside a model file, so that a device without torch and without the data set can repeat
the comparison from the image's bytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelFileError
from toolchain.files import atomic_file

MOST_IMAGES = 24
MOST_BYTES = 512 * 1024
"""A larger file's bytes do not travel; its pixels do."""


@dataclass(frozen=True, eq=False)
class StoredOutputs:
    """Images and the trained model's outputs for them."""

    classes: tuple[str, ...]
    """The class names in the order of the outputs."""
    names: tuple[str, ...]
    files: tuple[bytes, ...]
    """Each image file as it was, or nothing where it was too large to take along."""
    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    logits: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.names)


def write_stored_outputs(references: StoredOutputs, path: Path) -> None:
    """Write them as one .npz file, whole or not at all."""
    lengths = [len(data) for data in references.files]
    arrays = {
        "classes": np.array(references.classes),
        "names": np.array(references.names),
        "file_lengths": np.array(lengths, dtype=np.int64),
        "file_bytes": np.frombuffer(b"".join(references.files), dtype=np.uint8),
        "pixels": references.pixels,
        "probabilities": references.probabilities,
        "logits": references.logits,
    }
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub lacks **kwds


def read_stored_outputs(path: Path) -> StoredOutputs:
    """Read what `write_references` wrote; ModelFileError where it is damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            ends = np.cumsum(arrays["file_lengths"])
            data = arrays["file_bytes"].tobytes()
            starts = ends - arrays["file_lengths"]
            return StoredOutputs(
                classes=tuple(str(name) for name in arrays["classes"]),
                names=tuple(str(name) for name in arrays["names"]),
                files=tuple(data[a:b] for a, b in zip(starts, ends, strict=True)),
                pixels=arrays["pixels"],
                probabilities=arrays["probabilities"],
                logits=arrays["logits"],
            )
    except Exception as error:  # a damaged archive raises whatever its damage leads to
        raise ModelFileError(
            f"the reference outputs {path} can't be read: {error}",
            hint="copy them again, or remove them to verify by the card alone",
        ) from error
