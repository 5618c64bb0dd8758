from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from toolchain.data.layouts import Sample, read_dataset
from toolchain.errors import DataError
from toolchain.runtime.card import Preprocessing
from toolchain.runtime.image import read_image
from toolchain.runtime.preprocess import preprocess
from toolchain.training.augment import augmented_view
from toolchain.training.samples import Views, batches, make_loader
from toolchain.training.settings_file import read_settings

SMALL = Preprocessing(size=48, resize_size=55)


def all_pixels(views: Views, *, workers: int) -> torch.Tensor:
    loader = make_loader(views, batch_size=8, workers=workers, shuffle=True, seed=3)
    return torch.cat([pixels for pixels, _ in batches(loader)])


def test_the_clean_view_is_what_the_device_sees(stripes: Path) -> None:
    sample = read_dataset(stripes).val[0]
    pixels, label = Views([sample], SMALL)[0]  # type: ignore[misc]
    assert np.array_equal(pixels, preprocess(read_image(sample.path), SMALL))
    assert label == sample.label


@pytest.mark.parametrize("preset", ["s0", "s1", "s3", "turns"])
def test_a_preset_gives_pixels_of_the_right_size_that_differ_between_epochs(
    stripes: Path, preset: str
) -> None:
    view = augmented_view(read_settings(None, {"augment": preset, "size": 48}))
    views = Views(read_dataset(stripes).train, SMALL, view=view, seed=1)
    first = views[0][0]  # type: ignore[index]
    views.epoch.fill_(2)
    second = views[0][0]  # type: ignore[index]
    assert first.shape == (48, 48, 3)
    assert first.dtype == torch.uint8
    assert not torch.equal(first, second)


def test_workers_change_nothing(stripes: Path) -> None:
    view = augmented_view(read_settings(None, {"augment": "s1", "size": 48}))
    train = read_dataset(stripes).train
    alone = all_pixels(Views(train, SMALL, view=view, seed=5), workers=0)
    shared_out = all_pixels(Views(train, SMALL, view=view, seed=5), workers=2)
    assert torch.equal(alone, shared_out)


def test_the_epoch_reaches_workers_that_live_on(stripes: Path) -> None:
    view = augmented_view(read_settings(None, {"augment": "s1", "size": 48}))
    views = Views(read_dataset(stripes).val, SMALL, view=view, seed=5)
    loader = make_loader(views, batch_size=24, workers=1, shuffle=False, seed=0)
    passes = []
    for epoch in (1, 2, 1):
        views.epoch.fill_(epoch)
        passes.append(torch.cat([pixels for pixels, _ in batches(loader)]))
    assert torch.equal(passes[0], passes[2])
    assert not torch.equal(passes[0], passes[1])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_became_unreadable_is_one_clear_error(tmp_path: Path, workers: int) -> None:
    path = tmp_path / "gone.jpg"
    path.write_text("not an image")
    loader = make_loader(
        Views([Sample(path, 0)], SMALL), batch_size=1, workers=workers, shuffle=False, seed=0
    )
    with pytest.raises(DataError, match=r"gone\.jpg: text, not an image"):
        list(batches(loader))
