"""MixUp and CutMix: what is mixed with what, and by how much."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from toolchain.runs.settings_file import read_settings
from toolchain.training.inputs.mixing import Mixer, make_mixer

LABELS = torch.tensor([0, 1, 2, 3])
SEVERAL = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])


def mixer(classes: int = 4, **given: Any) -> Mixer:
    mix = make_mixer(read_settings(None, given), classes)
    assert mix is not None
    return mix


def noise() -> Tensor:
    """Return four images; no pixel of one equals the same pixel of another."""
    generator = torch.Generator().manual_seed(1)
    first = torch.randint(0, 60, (1, 16, 16, 3), generator=generator, dtype=torch.uint8)
    return torch.cat([first + 60 * i for i in range(4)])


def not_pasted(mixed: Tensor, pixels: Tensor) -> Tensor:
    """Return which pixels are those of the image itself, bool [batch, size, size].

    All others must be those of the image before it, in all three channels.
    """
    own = (mixed == pixels).all(-1)
    before = (mixed == pixels.roll(1, 0)).all(-1)
    assert (own ^ before).all()
    return own


def test_nothing_mixes_unless_asked_for() -> None:
    assert make_mixer(read_settings(None, {}), 4) is None


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mixup_adds_two_images_and_their_targets_with_the_same_weights(seed: int) -> None:
    torch.manual_seed(seed)
    mixed, shares = mixer(mixup=1.0)(noise(), LABELS)
    share = float(shares[0, 0])
    assert 0 < share < 1
    own = noise().float()
    assert_close(mixed, share * own + (1 - share) * own.roll(1, 0))
    assert_close(shares, share * torch.eye(4) + (1 - share) * torch.eye(4).roll(1, 0))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_cutmix_pastes_a_rectangle_and_mixes_the_targets_by_its_area(seed: int) -> None:
    torch.manual_seed(seed)
    mixed, shares = mixer(cutmix=1.0)(noise(), LABELS)
    pasted = ~not_pasted(mixed, noise())[0]
    rows, columns = pasted.any(1).sum(), pasted.any(0).sum()
    assert 0 < pasted.sum() == rows * columns
    own = 1 - pasted.float().mean()
    assert_close(shares, own * torch.eye(4) + (1 - own) * torch.eye(4).roll(1, 0))


@pytest.mark.parametrize("given", [{"mixup": 1.0}, {"cutmix": 1.0}], ids=["mixup", "cutmix"])
def test_targets_of_several_labels_are_mixed_like_the_images(given: dict[str, float]) -> None:
    torch.manual_seed(0)
    flat = torch.tensor([0, 40, 100, 240], dtype=torch.uint8)[:, None, None, None]
    mixed, shares = mixer(classes=3, **given)(flat.expand(4, 16, 16, 3), SEVERAL)
    # The mean level shows how much of each image there is.
    share = (mixed[1].mean() / 40).item()
    assert 0 < share < 1
    assert_close(shares, share * SEVERAL + (1 - share) * SEVERAL.roll(1, 0))


def test_with_both_set_each_batch_is_mixed_by_one_of_them() -> None:
    torch.manual_seed(0)
    mix = mixer(mixup=1.0, cutmix=1.0)
    batches = [mix(noise(), LABELS)[0] for _ in range(12)]
    integer = [bool((batch == batch.round()).all()) for batch in batches]
    # CutMix keeps integer levels, MixUp does not.
    assert set(integer) == {True, False}
    for batch, cut in zip(batches, integer, strict=True):
        if cut:
            not_pasted(batch, noise())


@pytest.mark.parametrize("targets", [LABELS, torch.eye(4)], ids=["indices", "shares"])
def test_a_mixed_batch_has_the_same_shape_and_the_inputs_are_not_changed(targets: Tensor) -> None:
    pixels, given = noise(), targets.clone()
    mixed, shares = mixer(mixup=1.0, cutmix=1.0)(pixels, given)
    assert (mixed.shape, mixed.dtype) == (pixels.shape, torch.float32)
    assert (shares.shape, shares.dtype) == ((4, 4), torch.float32)
    assert torch.equal(pixels, noise())
    assert torch.equal(given, targets)


def test_torchs_seed_alone_repeats_a_mix() -> None:
    mix = mixer(mixup=0.4, cutmix=1.0)

    def mixes(seed: int, other: int) -> Tensor:
        torch.manual_seed(seed)
        random.seed(other)
        return torch.stack([mix(noise(), LABELS)[0] for _ in range(6)])

    assert torch.equal(mixes(3, other=1), mixes(3, other=2))
    assert not torch.equal(mixes(3, other=1), mixes(4, other=1))


def test_targets_of_another_number_of_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="3 != 4"):
        mixer(classes=4, mixup=1.0)(noise(), SEVERAL)
