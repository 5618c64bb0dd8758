"""The rows of kept features: their values, their file, and which epoch uses which view."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.features.kept import Computed, by_image, clean, entry_of, inputs, network_of
from toolchain.data.layouts import read_dataset
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier
from toolchain.networks.split import FrozenBackbone
from toolchain.runs.settings_file import read_settings
from toolchain.training.features import compute
from toolchain.training.features.engine import Engine
from toolchain.training.features.source import FeatureSource
from toolchain.training.inputs.augment import make_augmentation


def test_a_row_is_the_output_of_the_frozen_part_for_the_clean_view(
    stripes: Path, start: Path
) -> None:
    made, _ = inputs(stripes, start)
    backbone = FrozenBackbone(
        Classifier(network_of(start), IMAGENET_NORMALISATION), frozen=4
    ).eval()
    for source, samples in zip(
        (made.train, made.val),
        (read_dataset(stripes).train, read_dataset(stripes).val),
        strict=True,
    ):
        pixels = np.stack([clean(sample.path) for sample in samples])
        with torch.inference_mode():
            expected = backbone(torch.from_numpy(pixels)).numpy()
        assert np.allclose(by_image(source, 1), expected, rtol=1e-3, atol=1e-3)


def test_rows_are_a_memory_mapped_file_of_float16(stripes: Path, start: Path) -> None:
    made, _ = inputs(stripes, start)
    assert isinstance(made.train, FeatureSource)
    rows = made.train.rows
    assert isinstance(rows, np.memmap)
    assert (rows.dtype, rows.shape) == (np.float16, (72, 64, 8, 8))
    (file,) = entry_of("clean").folder.glob("rows-*.f16")
    assert file.stat().st_size == 72 * 64 * 8 * 8 * 2


@pytest.mark.parametrize("augment", ["none", "s1"])
def test_the_second_run_computes_nothing(
    stripes: Path, start: Path, monkeypatch: pytest.MonkeyPatch, augment: str
) -> None:
    first, _ = inputs(stripes, start, augment=augment, views=2)

    def no_engine(*_: object) -> Engine:
        raise AssertionError("something was computed")

    monkeypatch.setattr(compute, "fastest_engine", no_engine)
    second, progress = inputs(stripes, start, augment=augment, views=2)
    assert "all kept from an earlier run" in progress.text
    for epoch in (1, 2):
        assert np.array_equal(by_image(first.train, epoch), by_image(second.train, epoch))
    assert np.array_equal(by_image(first.val, 1), by_image(second.val, 1))


def test_the_size_and_the_folder_are_reported(stripes: Path, start: Path, cache: Path) -> None:
    _, progress = inputs(stripes, start, augment="s1", views=3)
    # 3 × 48 + 24 rows of 64 × 8 × 8 float16.
    assert "features before layer1.0: 1.4 MB" in progress.text
    assert "rtl cache clear" in progress.text
    assert str(cache / "features") in progress.text


def test_epochs_use_the_views_of_each_image_in_turn(
    stripes: Path, start: Path, computed: Computed
) -> None:
    made, _ = inputs(stripes, start, augment="s1", views=3)
    assert computed.since() == 3 * 48 + 24
    assert entry_of("s1, seed 0").rows == 3 * 48
    assert entry_of("clean").rows == 24
    seen = [by_image(made.train, epoch) for epoch in (1, 2, 3, 4)]
    for earlier, later in ((0, 1), (1, 2), (0, 2)):
        same = (seen[earlier] == seen[later]).reshape(48, -1).all(axis=1)
        assert not same.any()
    assert np.array_equal(seen[0], seen[3])


def test_an_epoch_uses_different_views_of_different_images(stripes: Path, start: Path) -> None:
    """With one view for all images, each epoch would train on a small data set."""
    made, _ = inputs(stripes, start, augment="s1", views=3)
    assert isinstance(made.train, FeatureSource)
    views = [set(np.flatnonzero((made.train.row_of == row).any(axis=0))) for row in range(6)]
    assert views == [{0}, {1}, {2}] * 2, "rows lie view by view"
    first, rows = by_image(made.train, 1), made.train.rows
    taken = [
        int(np.flatnonzero([np.array_equal(rows[r], image) for r in own])[0])
        for image, own in zip(first, made.train.row_of, strict=True)
    ]
    assert {taken.count(view) for view in range(3)} == {16}


def test_more_views_than_epochs_are_not_computed(
    stripes: Path, start: Path, computed: Computed
) -> None:
    inputs(stripes, start, augment="turns", views=5, epochs=2)
    assert computed.since() == 2 * 48 + 24
    inputs(stripes, start, augment="turns", views=5, epochs=3)
    assert computed.since() == 48, "two views are kept already"


def test_augmentation_can_be_pickled_for_spawned_workers() -> None:
    """Workers are spawned on macOS and Windows, and from Python 3.14 on everywhere."""
    augmentation = make_augmentation(read_settings(None, {"augment": "s1", "size": 32}))
    assert augmentation is not None
    again = pickle.loads(pickle.dumps(augmentation))
    assert again.takes_preprocessed == augmentation.takes_preprocessed
