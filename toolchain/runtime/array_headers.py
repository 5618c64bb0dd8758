"""What the arrays in a file of reference outputs declare, read before any of them is.

A small archive can declare gigabytes: in a header of numpy, or by compression. Both are bounded
here, in sum.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ARRAYS = (*("classes", "names", "file_lengths", "file_bytes", "pixels", "probabilities", "logits"),)
MOST_BYTES = 1 << 28
"""All arrays together. 24 images of 1,024 pixels and the bytes of their files take 88 MB."""
MOST_HEADER_BYTES = 4096
DTYPES = {
    "file_lengths": np.dtype(np.int64),
    "file_bytes": np.dtype(np.uint8),
    "pixels": np.dtype(np.uint8),
    "probabilities": np.dtype(np.float32),
    "logits": np.dtype(np.float32),
}
"""Of the arrays that are no text."""


@dataclass(frozen=True)
class Header:
    """What one array declares."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def bytes(self) -> int:
        """The size of the array in memory."""
        count = 1
        for side in self.shape:  # not numpy's product, which overflows
            count *= side
        return count * self.dtype.itemsize


def array_headers(path: Path) -> dict[str, Header]:
    """Return what each array of an .npz file declares. Raises ValueError for too much, in sum."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.getinfo(f"{name}.npy") for name in ARRAYS}
        if len(archive.infolist()) != len(ARRAYS):
            raise ValueError(f"it has {len(archive.infolist())} members; there are {len(ARRAYS)}")
        unpacked = sum(member.file_size for member in members.values())
        if unpacked > MOST_BYTES:
            raise ValueError(f"it unpacks to {unpacked:,} bytes; {MOST_BYTES:,} are allowed")
        headers = {}
        for name, member in members.items():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }.get(version)
                if read is None:
                    raise ValueError(f"{name} is of version {version} of numpy's format")
                shape, _, dtype = read(file, max_header_size=MOST_HEADER_BYTES)
            headers[name] = Header(shape, dtype)
    declared = sum(header.bytes for header in headers.values())
    if declared > MOST_BYTES:
        raise ValueError(f"it declares {declared:,} bytes; {MOST_BYTES:,} are allowed")
    return headers


def require_consistent(headers: Mapping[str, Header]) -> None:
    """Raise ValueError for arrays whose types or lengths do not belong together."""
    for name, header in headers.items():
        expected = DTYPES.get(name)
        if (expected is None and header.dtype.kind != "U") or (
            expected is not None and header.dtype != expected
        ):
            raise ValueError(f"{name} is of type {header.dtype}")
    images, classes = _length(headers, "names"), _length(headers, "classes")
    if not images or not classes:
        raise ValueError("it holds no images, or names no classes")
    pixels = headers["pixels"].shape
    side = pixels[1] if len(pixels) > 1 else 0
    if not side:
        raise ValueError(f"pixels has shape {pixels}, expected [images, size, size, 3]")
    for name, shape in (
        ("file_lengths", (images,)),
        ("pixels", (images, side, side, 3)),
        ("probabilities", (images, classes)),
        ("logits", (images, classes)),
    ):
        if headers[name].shape != shape:
            raise ValueError(f"{name} has shape {headers[name].shape}, expected {shape}")
    _length(headers, "file_bytes")


def _length(headers: Mapping[str, Header], name: str) -> int:
    shape = headers[name].shape
    if len(shape) != 1:
        raise ValueError(f"{name} has shape {shape}, expected one axis")
    return shape[0]
