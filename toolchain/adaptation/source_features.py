"""The features of training images, stored beside a model file: what a target is compared with.

They are stored as they are, not as mean and covariance. Their size grows with the width of the
network and not with its square (400 images of a ResNet-18: 0.4 MB; of a ResNet-50: 1.6 MB, where a
covariance takes 8 MB), and the gate needs single images: it cross-validates.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelFileError
from toolchain.files import atomic_file
from toolchain.runtime.model_inputs import Floats

MOST_SOURCE_IMAGES = 400
"""Of the training images, spread over the classes."""
MOST_FILE_BYTES = 1 << 26
ARRAYS = {"features": "f2", "labels": "i4"}
HINT = "export the model again, or name the training images: --source FOLDER"


@dataclass(frozen=True, eq=False)
class SourceFeatures:
    """Features of images of the camera that the model was trained for."""

    features: Floats
    """[images, features]."""
    labels: NDArray[np.int64]
    """[images], indices into the card's classes."""

    def __len__(self) -> int:
        return len(self.features)


def features_file(model: Path) -> Path:
    """Return the path of the features of training images, beside a model file."""
    return model.with_name(model.name + ".features.npz")


def write_source_features(source: SourceFeatures, path: Path) -> None:
    """Write features as one .npz file, atomically, in float16: 0.05 % of a value is lost."""
    largest = float(np.finfo(np.float16).max)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            features=np.clip(source.features, -largest, largest).astype(np.float16),
            labels=source.labels.astype(np.int32),
        )


def read_source_features(path: Path, width: int, classes: int) -> SourceFeatures:
    """Read what `write_source_features` wrote, for a model of so many features and classes.

    Raises ModelFileError where it is damaged, too large, or of another model.
    """
    try:
        if path.stat().st_size > MOST_FILE_BYTES:
            raise ValueError(f"it has more than {MOST_FILE_BYTES:,} bytes")
        with np.load(path, allow_pickle=False) as arrays:
            features, labels = (_array(arrays, name, kind) for name, kind in ARRAYS.items())
    except Exception as error:  # a damaged archive raises whatever its damage leads to
        raise ModelFileError(f"{path} can't be read: {error}", hint=HINT) from error
    if features.ndim != 2 or labels.shape != features.shape[:1] or features.shape[1] != width:
        raise ModelFileError(
            f"{path} holds features of shape {list(features.shape)}, the model has {width}",
            hint=HINT,
        )
    if not np.isfinite(features).all() or not ((labels >= 0) & (labels < classes)).all():
        raise ModelFileError(f"{path} is not of this model: its values are out of range", hint=HINT)
    return SourceFeatures(features.astype(np.float32), labels.astype(np.int64))


def _array(arrays: np.lib.npyio.NpzFile, name: str, kind: str) -> NDArray[np.generic]:
    """Return one array, after comparing its declared size with the limit."""
    member = arrays.zip.getinfo(f"{name}.npy")
    if member.file_size > MOST_FILE_BYTES:
        raise ValueError(f"{name} unpacks to {member.file_size:,} bytes")
    found: NDArray[np.generic] = arrays[name]
    if found.dtype != np.dtype(kind):
        raise ValueError(f"{name} is of type {found.dtype}")
    return found
