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
from toolchain.training.inputs.augment import augmented_view
from toolchain.training.inputs.order import Order
from toolchain.training.inputs.samples import PixelSource, Views, clean_source, targets_of

SMALL = Preprocessing(size=48, resize_size=55)


def source_of(views: Views, *, workers: int, seed: int | None = 3) -> PixelSource:
    order = Order(views.samples, 8, seed=seed)
    return PixelSource(views, targets_of(views.samples, 3), order, workers)


def pixels_of(source: PixelSource, epoch: int) -> torch.Tensor:
    return torch.cat([batch.inputs for batch in source.epoch(epoch)])


def test_the_clean_view_is_what_the_device_sees(stripes: Path) -> None:
    sample = read_dataset(stripes).val[0]
    source = clean_source([sample], 3, SMALL, batch_size=4, workers=0)
    [batch] = source.epoch(1)
    assert np.array_equal(batch.inputs[0], preprocess(read_image(sample.path), SMALL))
    assert batch.targets.tolist() == [sample.label]


def test_a_clean_source_gives_each_image_once_in_the_splits_own_order(stripes: Path) -> None:
    val = read_dataset(stripes).val
    batches = list(clean_source(val, 3, SMALL, batch_size=10, workers=0).epoch(1))
    assert [batch.counted for batch in batches] == [10, 10, 4]
    assert [index for batch in batches for index in batch.indices] == list(range(24))
    targets = torch.cat([batch.targets for batch in batches])
    assert targets.tolist() == [sample.label for sample in val]


def test_each_label_goes_with_its_own_image_however_they_are_drawn(stripes: Path) -> None:
    train = read_dataset(stripes).train
    for batch in source_of(Views(train, SMALL), workers=0).epoch(2):
        for pixels, target, index in zip(*batch[:3], strict=True):
            expected = preprocess(read_image(train[index].path), SMALL)
            assert np.array_equal(pixels, expected)
            assert target == train[index].label


@pytest.mark.parametrize("preset", ["s0", "s1", "s3", "turns"])
def test_a_preset_gives_pixels_of_the_right_size_that_differ_between_epochs(
    stripes: Path, preset: str
) -> None:
    view = augmented_view(read_settings(None, {"augment": preset, "size": 48}))
    views = Views(read_dataset(stripes).train, SMALL, view=view, seed=1)
    source = source_of(views, workers=0, seed=None)
    first, second = pixels_of(source, 1), pixels_of(source, 2)
    assert first.shape == (48, 48, 48, 3)
    assert first.dtype == torch.uint8
    # Of turns there are eight, so that one image in eight looks as it did.
    assert sum(not torch.equal(a, b) for a, b in zip(first, second, strict=True)) > 30


def test_workers_change_nothing(stripes: Path) -> None:
    view = augmented_view(read_settings(None, {"augment": "s1", "size": 48}))
    train = read_dataset(stripes).train
    alone = source_of(Views(train, SMALL, view=view, seed=5), workers=0)
    shared_out = source_of(Views(train, SMALL, view=view, seed=5), workers=2)
    assert torch.equal(pixels_of(alone, 1), pixels_of(shared_out, 1))


def test_the_epoch_reaches_workers_that_live_on(stripes: Path) -> None:
    view = augmented_view(read_settings(None, {"augment": "s1", "size": 48}))
    views = Views(read_dataset(stripes).val, SMALL, view=view, seed=5)
    source = source_of(views, workers=1, seed=None)
    passes = [pixels_of(source, epoch) for epoch in (1, 2, 1)]
    assert torch.equal(passes[0], passes[2])
    assert not torch.equal(passes[0], passes[1])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_became_unreadable_is_one_clear_error(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "gone.jpg"
    path.write_text("not an image")
    source = clean_source([Sample(path, 0)], 1, SMALL, batch_size=1, workers=workers)
    with pytest.raises(DataError, match=r"gone\.jpg: text, not an image"):
        list(source.epoch(1))


@pytest.mark.parametrize("preset", [None, "turns"])
def test_pixels_that_were_read_once_are_those_of_the_files(
    stripes: Path, preset: str | None
) -> None:
    view = augmented_view(read_settings(None, {"augment": preset or "none", "size": 48}))
    val = read_dataset(stripes).val
    kept, fresh = (Views(val, SMALL, view=view, seed=5) for _ in range(2))
    assert kept.fits_in_memory()
    kept.read_once(SilentReporter(), "reading")
    found = pixels_of(source_of(kept, workers=0), 2)
    assert torch.equal(found, pixels_of(source_of(fresh, workers=0), 2))
