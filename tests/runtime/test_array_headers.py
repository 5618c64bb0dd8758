"""Archives that declare more than they should are refused before an array is read."""

from __future__ import annotations

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolchain.errors import ModelFileError
from toolchain.runtime.array_headers import ARRAYS, MOST_BYTES
from toolchain.runtime.stored_outputs import read_stored_outputs


def arrays(images: int = 3, **changes: Any) -> dict[str, Any]:
    right = {
        "classes": np.array(["a", "b"]),
        "names": np.array([f"{i}.jpg" for i in range(images)]),
        "file_lengths": np.array([2] * images, np.int64),
        "file_bytes": np.zeros(2 * images, np.uint8),
        "pixels": np.zeros((images, 8, 8, 3), np.uint8),
        "probabilities": np.zeros((images, 2), np.float32),
        "logits": np.zeros((images, 2), np.float32),
    }
    return {**right, **changes}


def written(path: Path, found: dict[str, Any]) -> Path:
    np.savez_compressed(path, **found)
    return path


def test_what_belongs_together_is_read(tmp_path: Path) -> None:
    assert len(read_stored_outputs(written(tmp_path / "r.npz", arrays()))) == 3


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("names", np.array(["0.jpg"]), "shape"),
        ("names", np.array([], dtype="U1"), "no images"),
        ("names", np.array(["a", "b", "c"], dtype=object), "object"),
        ("names", np.array([1, 2, 3]), "type int64"),
        ("classes", np.array([], dtype="U1"), "names no classes"),
        ("classes", np.array(["a", "b", "c"]), "probabilities has shape"),
        ("pixels", np.zeros((3, 8, 9, 3), np.uint8), "pixels has shape"),
        ("pixels", np.zeros((3, 0, 0, 3), np.uint8), "has shape"),
        ("pixels", np.zeros((3, 8, 8, 3)), "pixels is of type float64"),
        ("pixels", np.zeros(5, np.uint8), "pixels has shape"),
        ("logits", np.zeros((4, 2), np.float32), "logits has shape"),
        ("logits", np.float32(1), "logits has shape"),
        ("file_lengths", np.array([2, 2, 99], np.int64), "lengths"),
        ("file_lengths", np.array([7, -3, 2], np.int64), "lengths"),
        ("file_bytes", np.zeros((3, 2), np.uint8), "one axis"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(
    tmp_path: Path, name: str, array: Any, reason: str
) -> None:
    path = written(tmp_path / "r.npz", arrays(**{name: array}))
    with pytest.raises(ModelFileError, match="can't be read") as caught:
        read_stored_outputs(path)
    assert reason.lower() in str(caught.value).lower()


@pytest.mark.parametrize("missing", ["names", "pixels"])
def test_a_missing_array_is_refused(tmp_path: Path, missing: str) -> None:
    found = arrays()
    del found[missing]
    with pytest.raises(ModelFileError, match="can't be read"):
        read_stored_outputs(written(tmp_path / "r.npz", found))


def header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1 << 40,), "|u1"), ((1 << 62, 1 << 62), "<f4"), ((8,), "<U400000000")],
)
def test_gigabytes_that_a_header_declares_are_not_reserved(
    tmp_path: Path, shape: tuple[int, ...], dtype: str
) -> None:
    path = tmp_path / "r.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ARRAYS:
            archive.writestr(f"{name}.npy", header(shape, dtype))
    started = time.monotonic()
    with pytest.raises(ModelFileError, match="bytes; 268,435,456 are allowed"):
        read_stored_outputs(path)
    assert time.monotonic() - started < 5


def test_a_small_archive_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "r.npz", arrays(file_bytes=np.zeros(MOST_BYTES + 1, np.uint8)))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ModelFileError, match="it unpacks to"):
        read_stored_outputs(path)
