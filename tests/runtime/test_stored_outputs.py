"""The reference outputs beside a model file: written, read back, and refused when damaged."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.errors import ModelFileError
from toolchain.runs.sampling import evenly
from toolchain.runtime.stored_outputs import (
    StoredOutputs,
    read_stored_outputs,
    write_stored_outputs,
)


@pytest.fixture
def some() -> StoredOutputs:
    rng = np.random.default_rng(0)
    return StoredOutputs(
        classes=("a", "b"),
        names=("val/a/1.jpg", "val/b/zwölf.png", "val/b/empty.bmp"),
        files=(b"first", rng.bytes(1000), b""),
        pixels=rng.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8),
        probabilities=rng.random((3, 2), dtype=np.float32),
        logits=rng.normal(size=(3, 2)).astype(np.float32),
    )


def test_stored_outputs_are_read_as_they_were_written(some: StoredOutputs, tmp_path: Path) -> None:
    write_stored_outputs(some, tmp_path / "references.npz")
    found = read_stored_outputs(tmp_path / "references.npz")
    assert len(found) == 3
    assert (found.names, found.files) == (some.names, some.files)
    for name in ("pixels", "probabilities", "logits"):
        before, after = getattr(some, name), getattr(found, name)
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after, before)


def test_stored_outputs_of_an_export_have_images_of_every_class(
    exported: Path, stripes: Path
) -> None:
    found = read_stored_outputs(exported / "model.onnx.references.npz")
    assert {name.split("/")[1] for name in found.names} == {"across", "aslant", "down"}
    assert found.pixels.shape == (24, 64, 64, 3)
    assert found.files[0] == (stripes / found.names[0]).read_bytes()
    np.testing.assert_allclose(found.probabilities.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_file_cut_short_is_refused_with_a_way_out(
    some: StoredOutputs, tmp_path: Path, kept: int
) -> None:
    path = tmp_path / "references.npz"
    write_stored_outputs(some, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelFileError, match="can't be read") as caught:
        read_stored_outputs(path)
    assert "copy them again" in str(caught.value.hint)


def test_a_damaged_byte_raises_nothing_but_a_model_file_error(
    some: StoredOutputs, tmp_path: Path
) -> None:
    path = tmp_path / "references.npz"
    write_stored_outputs(some, path)
    whole = path.read_bytes()
    rng = random.Random(0)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            read_stored_outputs(path)  # some bytes don't matter
        except ModelFileError:
            continue


def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", pixels=np.zeros(3))
    with pytest.raises(ModelFileError, match="can't be read"):
        read_stored_outputs(tmp_path / "other.npz")


def test_a_failed_write_leaves_the_older_file(some: StoredOutputs, tmp_path: Path) -> None:
    path = tmp_path / "references.npz"
    write_stored_outputs(some, path)
    copy = shutil.copy(path, tmp_path / "copy.npz")
    broken = StoredOutputs(some.classes, some.names, ("text",) * 3, *(3 * [some.pixels]))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        write_stored_outputs(broken, path)
    assert path.read_bytes() == Path(copy).read_bytes()


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 500))
def test_evenly_takes_distinct_items_from_end_to_end(length: int, count: int) -> None:
    items = [Path(f"{i:03}") for i in range(length)]
    found = evenly(items, count)
    assert len(found) == min(length, count)
    assert found == sorted(set(found))
    if length and count > 1:
        assert (found[0], found[-1]) == (items[0], items[-1])


def test_evenly_meets_every_class_of_a_sorted_split() -> None:
    items = [Path(f"class{i:02}/{j:03}.jpg") for i in range(20) for j in range(100)]
    assert len({path.parent.name for path in evenly(items, 24)}) == 20
