"""Which settings, weights, files and versions make the rows be computed again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import draw_stripes
from tests.runtime.modelcache.engines import set_version
from tests.training.features.kept import Computed, by_image, inputs
from toolchain.networks.weights import read_weights, weights_bytes
from toolchain.training.features import engine, source
from toolchain.training.features.store import SCHEMA, features_folder


@pytest.mark.parametrize(
    ("changed", "rows"),
    [
        ({"size": 48}, 72),
        ({"preprocessing": "squash"}, 72),
        ({"resize_size": 40}, 72),
        ({"freeze_until": "3"}, 72),
        ({"augment": "turns", "views": 1}, 48),
        # Settings that do not affect the features.
        ({"seed": 1}, 0),
        ({"batch_size": 8, "epochs": 9, "lr_head": 1.0, "dropout": 0.5, "views": 2}, 0),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else str(value),
)
def test_settings_that_affect_the_features_get_other_rows(
    stripes: Path, start: Path, computed: Computed, changed: dict[str, Any], rows: int
) -> None:
    inputs(stripes, start)
    assert computed.since() == 72
    inputs(stripes, start, **changed)
    assert computed.since() == rows
    inputs(stripes, start)
    assert computed.since() == 0, "the first rows are still there"


def test_another_seed_gets_other_views_and_the_same_clean_rows(
    stripes: Path, start: Path, computed: Computed
) -> None:
    first, _ = inputs(stripes, start, augment="s1", views=1, seed=1)
    computed.since()
    other, _ = inputs(stripes, start, augment="s1", views=1, seed=2)
    assert computed.since() == 48
    assert not np.array_equal(by_image(first.train, 1), by_image(other.train, 1))


def test_other_frozen_weights_get_other_rows(
    stripes: Path, start: Path, tmp_path: Path, computed: Computed
) -> None:
    first, _ = inputs(stripes, start)
    computed.since()
    state = read_weights(start)
    state["bn1.running_mean"][0] += 0.5  # a buffer, which affects the features too
    other = tmp_path / "other.safetensors"
    other.write_bytes(weights_bytes(state))
    second, _ = inputs(stripes, other)
    assert computed.since() == 72
    assert not np.array_equal(by_image(first.val, 1), by_image(second.val, 1))
    state["bn1.running_mean"][0] -= 0.5
    state["layer1.0.conv1.weight"] += 1.0  # after the boundary
    other.write_bytes(weights_bytes(state))
    inputs(stripes, other)
    assert computed.since() == 0


def test_rows_of_another_schema_are_not_used(
    stripes: Path, start: Path, computed: Computed, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(source, "SCHEMA", SCHEMA - 1)
        inputs(stripes, start)
    assert computed.since() == 72
    inputs(stripes, start)
    assert computed.since() == 72
    inputs(stripes, start)
    assert computed.since() == 0


def test_rows_of_another_version_of_rtl_are_used(
    stripes: Path, start: Path, computed: Computed, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs(stripes, start)
    assert computed.since() == 72
    set_version("9.9.9", monkeypatch)
    inputs(stripes, start)
    assert computed.since() == 0


def test_only_the_rows_of_a_changed_file_are_computed_again(
    data: Path, start: Path, computed: Computed
) -> None:
    before, _ = inputs(data, start)
    computed.since()
    draw_stripes(data / "train" / "down" / "03.jpg", "down", 4242)
    after, _ = inputs(data, start)
    assert computed.since() == 1
    old, new = by_image(before.train, 1), by_image(after.train, 1)
    index = [s.path.name for s in after.train.samples if s.path.parent.name == "down"].index(
        "03.jpg"
    )
    differs = ~(old == new).reshape(48, -1).all(axis=1)
    assert np.flatnonzero(differs).tolist() == [32 + index]


def test_all_views_of_a_changed_file_are_computed_again(
    data: Path, start: Path, computed: Computed
) -> None:
    inputs(data, start, augment="s1", views=3)
    computed.since()
    draw_stripes(data / "train" / "down" / "03.jpg", "down", 4242)
    inputs(data, start, augment="s1", views=3)
    assert computed.since() == 3


def test_rows_are_right_after_files_were_added_removed_and_renamed(
    data: Path, start: Path, computed: Computed
) -> None:
    inputs(data, start)
    computed.since()
    (data / "train" / "across" / "00.jpg").unlink()
    (data / "train" / "aslant" / "05.jpg").rename(data / "train" / "aslant" / "zz.jpg")
    draw_stripes(data / "train" / "down" / "99.jpg", "down", 4243)
    changed, _ = inputs(data, start)
    assert computed.since() == 1
    shutil.rmtree(features_folder())
    anew, _ = inputs(data, start)
    assert np.array_equal(by_image(changed.train, 1), by_image(anew.train, 1))
    assert np.array_equal(by_image(changed.val, 1), by_image(anew.val, 1))


def test_views_depend_on_the_image_and_not_on_its_index(
    data: Path, start: Path, computed: Computed
) -> None:
    settings: dict[str, Any] = {"augment": "s1", "views": 1, "batch_size": 7}
    before, _ = inputs(data, start, **settings)
    computed.since()
    draw_stripes(data / "train" / "across" / "-first.jpg", "across", 4243)
    after, _ = inputs(data, start, **settings)
    assert computed.since() == 1
    assert np.array_equal(by_image(before.train, 1), by_image(after.train, 1)[1:])


def test_a_row_does_not_depend_on_the_others_of_its_batch(
    data: Path, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a resumed run that finds some of its rows would end with other weights."""
    monkeypatch.setattr(engine, "_onnxruntime_engine", lambda *_: None)
    deep = {"size": 64, "strategy": "head"}
    image = data / "train" / "down" / "03.jpg"
    kept = image.read_bytes()
    draw_stripes(image, "down", 4242)
    inputs(data, start, **deep)
    image.write_bytes(kept)
    one_by_one, _ = inputs(data, start, **deep)
    shutil.rmtree(features_folder())
    together, _ = inputs(data, start, **deep)
    assert np.array_equal(by_image(one_by_one.train, 1), by_image(together.train, 1))
