"""Batches of pixels: which pixels and targets, augmented or not, with and without workers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from toolchain.data.layouts import Sample, read_dataset
from toolchain.errors import DataError
from toolchain.progress import SilentReporter
from toolchain.runs.settings_file import read_settings
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.training.inputs.augment import make_augmentation
from toolchain.training.inputs.order import Order
from toolchain.training.inputs.samples import PixelDataset, PixelSource, clean_source, targets_of

SMALL = Preprocessing(size=48, resize_size=55)


def source_of(dataset: PixelDataset, *, workers: int, seed: int | None = 3) -> PixelSource:
    order = Order(dataset.samples, 8, seed=seed)
    return PixelSource(dataset, targets_of(dataset.samples, 3), order, workers)


def pixels_of(source: PixelSource, epoch: int) -> torch.Tensor:
    return torch.cat([batch.inputs for batch in source.epoch(epoch)])


def test_the_clean_view_is_preprocessed_as_on_the_device(stripes: Path) -> None:
    sample = read_dataset(stripes).val[0]
    source = clean_source([sample], 3, SMALL, batch_size=4, workers=0)
    [batch] = source.epoch(1)
    assert np.array_equal(batch.inputs[0], preprocess(read_image(sample.path), SMALL))
    assert batch.targets.tolist() == [sample.label]


def test_a_clean_source_has_each_image_once_in_the_order_of_the_split(stripes: Path) -> None:
    val = read_dataset(stripes).val
    batches = list(clean_source(val, 3, SMALL, batch_size=10, workers=0).epoch(1))
    assert [batch.counted for batch in batches] == [10, 10, 4]
    assert [index for batch in batches for index in batch.indices] == list(range(24))
    targets = torch.cat([batch.targets for batch in batches])
    assert targets.tolist() == [sample.label for sample in val]


def test_each_target_belongs_to_its_image_in_any_order(stripes: Path) -> None:
    train = read_dataset(stripes).train
    for batch in source_of(PixelDataset(train, SMALL), workers=0).epoch(2):
        for pixels, target, index in zip(*batch[:3], strict=True):
            expected = preprocess(read_image(train[index].path), SMALL)
            assert np.array_equal(pixels, expected)
            assert target == train[index].label


@pytest.mark.parametrize("preset", ["s0", "s1", "s3", "turns"])
def test_augmented_pixels_have_the_right_size_and_differ_between_epochs(
    stripes: Path, preset: str
) -> None:
    augmentation = make_augmentation(read_settings(None, {"augment": preset, "size": 48}))
    dataset = PixelDataset(read_dataset(stripes).train, SMALL, augmentation=augmentation, seed=1)
    source = source_of(dataset, workers=0, seed=None)
    first, second = pixels_of(source, 1), pixels_of(source, 2)
    assert first.shape == (48, 48, 48, 3)
    assert first.dtype == torch.uint8
    # The preset turns has eight results, so that one image in eight is the same again.
    assert sum(not torch.equal(a, b) for a, b in zip(first, second, strict=True)) > 30


def test_the_number_of_workers_changes_no_pixel(stripes: Path) -> None:
    augmentation = make_augmentation(read_settings(None, {"augment": "s1", "size": 48}))
    train = read_dataset(stripes).train
    without = source_of(PixelDataset(train, SMALL, augmentation=augmentation, seed=5), workers=0)
    with_workers = source_of(
        PixelDataset(train, SMALL, augmentation=augmentation, seed=5), workers=2
    )
    assert torch.equal(pixels_of(without, 1), pixels_of(with_workers, 1))


def test_persistent_workers_receive_the_epoch(stripes: Path) -> None:
    augmentation = make_augmentation(read_settings(None, {"augment": "s1", "size": 48}))
    dataset = PixelDataset(read_dataset(stripes).val, SMALL, augmentation=augmentation, seed=5)
    source = source_of(dataset, workers=1, seed=None)
    epochs = [pixels_of(source, epoch) for epoch in (1, 2, 1)]
    assert torch.equal(epochs[0], epochs[2])
    assert not torch.equal(epochs[0], epochs[1])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_became_unreadable_is_one_clear_error(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "gone.jpg"
    path.write_text("not an image")
    source = clean_source([Sample(path, 0)], 1, SMALL, batch_size=1, workers=workers)
    with pytest.raises(DataError, match=r"gone\.jpg: text, not an image"):
        list(source.epoch(1))


@pytest.mark.parametrize("preset", [None, "turns"])
def test_pixels_kept_in_memory_equal_those_read_from_the_files(
    stripes: Path, preset: str | None
) -> None:
    augmentation = make_augmentation(read_settings(None, {"augment": preset or "none", "size": 48}))
    val = read_dataset(stripes).val
    kept, fresh = (PixelDataset(val, SMALL, augmentation=augmentation, seed=5) for _ in range(2))
    assert kept.fits_in_memory()
    kept.read_once(SilentReporter(), "reading")
    found = pixels_of(source_of(kept, workers=0), 2)
    assert torch.equal(found, pixels_of(source_of(fresh, workers=0), 2))
