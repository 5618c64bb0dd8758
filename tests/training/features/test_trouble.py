"""What can happen to the cache of features: training goes on, with the right rows or without."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import draw_stripes
from tests.training.features.kept import Computed, by_image, entry_of, inputs
from toolchain.errors import DataError
from toolchain.training.features import compute
from toolchain.training.features.source import FeatureSource
from toolchain.training.features.store import Entry
from toolchain.training.inputs.samples import PixelSource


def damage(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 0xFF
    file.write_bytes(data)


def test_rows_with_flipped_bytes_are_computed_again(
    stripes: Path, start: Path, computed: Computed
) -> None:
    before, _ = inputs(stripes, start)
    expected = [by_image(part, 1) for part in (before.train, before.val)]
    computed.since()
    (rows,) = entry_of("clean").folder.glob("rows-*")
    for place in (0, 1000, rows.stat().st_size - 1):
        damage(rows, place)
    after, progress = inputs(stripes, start)
    assert computed.since() == 2  # two of the bytes are of one row
    assert "all kept" not in progress.text
    for part, right in zip((after.train, after.val), expected, strict=True):
        np.testing.assert_array_equal(by_image(part, 1), right)
    inputs(stripes, start)
    assert computed.since() == 0


def test_an_entry_without_its_record_is_used_and_gets_one(
    stripes: Path, start: Path, computed: Computed
) -> None:
    inputs(stripes, start)
    computed.since()
    record = entry_of("clean").folder / "about.json"
    record.unlink()
    made, _ = inputs(stripes, start)
    assert isinstance(made.train, FeatureSource)
    assert (computed.since(), record.exists()) == (0, True)


def a_file(cache: Path, patch: pytest.MonkeyPatch) -> str:
    cache.write_text("")
    return "features: not a directory"


def open_to_all(cache: Path, patch: pytest.MonkeyPatch) -> str:
    cache.mkdir(mode=0o700)
    cache.chmod(0o777)
    return "anyone can write to it"


def anothers(cache: Path, patch: pytest.MonkeyPatch) -> str:
    patch.setattr("os.getuid", lambda: 4711)
    return "features: not this user's alone"


def read_only(cache: Path, patch: pytest.MonkeyPatch) -> str:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    (cache / "features").mkdir(parents=True)
    patch.setattr("toolchain.training.features.store.write_json", fails)
    return "its results can't be kept in"


def no_home(cache: Path, patch: pytest.MonkeyPatch) -> str:
    home = "toolchain.training.features.store.cache_folder"
    patch.setattr(home, lambda: Path("~/.cache/rtl"))
    return "this user has no home folder"


def cleared(cache: Path, patch: pytest.MonkeyPatch) -> str:
    def then_cleared(*given: Any) -> bool:
        done = compute.compute_missing(*given)
        shutil.rmtree(cache / "features")
        return done

    patch.setattr("toolchain.training.features.source.compute_missing", then_cleared)
    return "another process has removed them"


@pytest.mark.parametrize("make", [a_file, open_to_all, anothers, read_only, no_home, cleared])
def test_without_a_usable_cache_training_uses_pixels(
    make: Callable[[Path, pytest.MonkeyPatch], str],
    stripes: Path,
    start: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reason = make(cache, monkeypatch)
    made, progress = inputs(stripes, start)
    assert isinstance(made.train, PixelSource)
    assert "the frozen part is computed each epoch: " in progress.text
    assert reason in progress.text
    assert not Path("~").exists()


def test_a_full_cache_that_can_not_be_written_loses_no_rows(
    data: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs(data, start)
    rows = entry_of("clean").rows
    draw_stripes(data / "train" / "down" / "03.jpg", "down", 4242)

    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("toolchain.training.features.store.write_json", denied)
        inputs(data, start)
    assert entry_of("clean").rows == rows


def test_rows_of_an_image_that_changes_while_it_is_read_are_not_kept(
    data: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image is another one during the computation, and itself again after it."""
    changed = data / "train" / "down" / "03.jpg"
    original, real = changed.read_bytes(), compute._compute

    def meanwhile(*given: Any) -> None:
        draw_stripes(changed, "across", 4242)
        try:
            real(*given)
        finally:
            changed.write_bytes(original)

    with monkeypatch.context() as patch:
        patch.setattr(compute, "_compute", meanwhile)
        with pytest.raises(DataError, match=r"03\.jpg: it has changed since it was first read"):
            inputs(data, start)
    made, _ = inputs(data, start)
    fresh, _ = inputs(data, start, cache=False)
    assert isinstance(made.train, FeatureSource)
    digest = next(s.digest for s in fresh.train.samples if s.path == changed)
    assert Entry(entry_of("clean").key).missing([digest]) == []
