"""The reference outputs beside a model file: a few real images and the model's outputs for them.

They are copied to a device with the file, so that it can be compared there from the images' bytes,
without torch and without the data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelFileError
from toolchain.files import atomic_file
from toolchain.runtime.array_headers import array_headers, require_consistent
from toolchain.runtime.model_inputs import ModelOutputs

MOST_STORED_IMAGES = 24
MOST_IMAGE_BYTES = 512 * 1024
"""Of a larger image file the pixels alone are stored."""


def references_file(model: Path) -> Path:
    """Return the path of the reference outputs of a model file."""
    return model.with_name(model.name + ".references.npz")


@dataclass(frozen=True, eq=False)
class StoredOutputs:
    """Images and the outputs for them, at export."""

    classes: tuple[str, ...]
    """The class names in the order of the outputs."""
    names: tuple[str, ...]
    """The images, by their paths in the data set."""
    files: tuple[bytes, ...]
    """Each image file's bytes; empty for one that was too large."""
    pixels: NDArray[np.uint8]
    """[images, size, size, 3]."""
    probabilities: NDArray[np.float32]
    """[images, classes]."""
    logits: NDArray[np.float32]
    """[images, classes]."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def outputs(self) -> ModelOutputs:
        """The probabilities and logits."""
        return ModelOutputs(self.probabilities, self.logits)


def write_stored_outputs(stored: StoredOutputs, path: Path) -> None:
    """Write reference outputs as one .npz file, atomically."""
    lengths = [len(data) for data in stored.files]
    arrays = {
        "classes": np.array(stored.classes),
        "names": np.array(stored.names),
        "file_lengths": np.array(lengths, dtype=np.int64),
        "file_bytes": np.frombuffer(b"".join(stored.files), dtype=np.uint8),
        "pixels": stored.pixels,
        "probabilities": stored.probabilities,
        "logits": stored.logits,
    }
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub lacks **kwds


def read_stored_outputs(path: Path) -> StoredOutputs:
    """Read what `write_stored_outputs` wrote; ModelFileError where it is damaged or too large.

    What the arrays declare is checked before they are read; see `require_consistent`.
    """
    try:
        headers = array_headers(path)
        require_consistent(headers)
        with np.load(path, allow_pickle=False) as arrays:
            ends = np.cumsum(arrays["file_lengths"])
            data = arrays["file_bytes"].tobytes()
            starts = ends - arrays["file_lengths"]
            if (arrays["file_lengths"] < 0).any() or (ends[-1] != len(data)):
                raise ValueError("the lengths of its files are not those of their bytes")
            if not all(np.isfinite(arrays[name]).all() for name in ("probabilities", "logits")):
                raise ValueError("its outputs are not finite numbers")
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
