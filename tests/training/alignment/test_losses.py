"""The losses that align two cameras, beside formulas in numpy, and where their gradients lead."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from toolchain.training.alignment.coral import coral
from toolchain.training.alignment.dann import (
    Discriminator,
    domain_confusion,
    ramp,
    reversed_gradient,
)
from toolchain.training.alignment.mcc import class_confusion
from toolchain.training.alignment.mmd import mmd

Loss = Callable[[Tensor, Tensor], Tensor]


def samples(m: int = 7, n: int = 5, width: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    source = torch.randn(m, width, generator=generator)
    return source, 1.5 * torch.randn(n, width, generator=generator) + 1


def test_mmd_is_the_mean_over_kernels_of_the_articles_formula() -> None:
    source, target = samples()
    x, y = source.numpy().astype(float), target.numpy().astype(float)
    points = [*x, *y]
    squared = [((a - b) ** 2).sum() for i, a in enumerate(points) for b in points[:i]]
    width = np.mean(squared)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        scales = (0.25, 0.5, 1, 2, 4)
        return float(np.mean([np.exp(-((a - b) ** 2).sum() / (s * width)) for s in scales]))

    def mean(left: np.ndarray, right: np.ndarray) -> float:
        return float(np.mean([[kernel(a, b) for b in right] for a in left]))

    expected = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    assert mmd(source, target).item() == pytest.approx(expected, rel=1e-4)


def test_coral_is_the_distance_of_numpys_covariances() -> None:
    source, target = samples()
    difference = np.cov(source.numpy(), rowvar=False) - np.cov(target.numpy(), rowvar=False)
    expected = np.linalg.norm(difference) ** 2 / (4 * 4**2)
    assert coral(source, target).item() == pytest.approx(expected, rel=1e-4)


def test_class_confusion_is_the_articles_formula() -> None:
    logits = samples(width=3)[0] * 4
    powers = np.exp(logits.numpy().astype(float) / 2.5)
    y = powers / powers.sum(axis=1, keepdims=True)
    entropy = -(y * np.log(y)).sum(axis=1)
    w = 1 + np.exp(-entropy)
    w = len(y) * w / w.sum()
    confusion = np.zeros((3, 3))
    for row, weight in zip(y, w, strict=True):
        confusion += weight * np.outer(row, row)
    confusion /= confusion.sum(axis=1, keepdims=True)
    expected = (confusion.sum() - np.trace(confusion)) / 3
    assert class_confusion(logits).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("loss", [mmd, coral])
def test_of_equal_samples_nothing_is_to_be_aligned(loss: Loss) -> None:
    source, _ = samples()
    assert loss(source, source.clone()).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", [mmd, coral])
def test_a_step_along_the_gradient_brings_the_samples_together(loss: Loss) -> None:
    source, target = samples()
    source.requires_grad_()
    before = loss(source, target)
    before.backward()
    assert source.grad is not None
    moved = source.detach() - 0.1 * source.grad / source.grad.norm()
    assert loss(moved, target) < before


def test_less_confusion_makes_predictions_of_the_target_certain() -> None:
    logits = torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.6, 0.0], [0.0, 0.0, 0.4]], requires_grad=True)
    class_confusion(logits).backward()
    assert logits.grad is not None
    moved = (logits - 5 * logits.grad).detach()
    assert (moved.softmax(1).amax(1) > logits.detach().softmax(1).amax(1)).all()


def test_the_reversal_keeps_values_and_turns_gradients_round() -> None:
    features = torch.ones(2, 3, requires_grad=True)
    result = reversed_gradient(features, 0.5)
    assert torch.equal(result, features)
    (result * 4).sum().backward()
    assert features.grad is not None
    assert torch.equal(features.grad, torch.full((2, 3), -2.0))


def test_features_move_to_where_the_discriminator_is_wrong_while_it_learns_to_be_right() -> None:
    torch.manual_seed(0)
    source, target = samples(24, 24)
    discriminator = Discriminator(4)
    source.requires_grad_()
    before = domain_confusion(discriminator, source, target, 1.0)
    before.backward()
    assert source.grad is not None
    with torch.no_grad():
        moved = source - 5 * source.grad / source.grad.norm()
        assert domain_confusion(discriminator, moved, target, 1.0) > before
        for parameter in discriminator.parameters():
            assert parameter.grad is not None
            parameter.sub_(0.1 * parameter.grad)
        assert domain_confusion(discriminator, source, target, 1.0) < before


def test_the_discriminators_loss_is_the_mean_over_domains_and_not_over_images() -> None:
    source, target = samples(20, 2)
    discriminator = Discriminator(4)
    with torch.no_grad():
        probability = [1 / (1 + np.exp(-discriminator(x).numpy())) for x in (source, target)]
        expected = (-np.log(1 - probability[0]).mean() - np.log(probability[1]).mean()) / 2
        found = domain_confusion(discriminator, source, target, 1.0).item()
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_alignment_grows_from_nothing_to_its_full_strength() -> None:
    strengths = [ramp(share) for share in (0, 0.05, 0.25, 0.5, 1)]
    assert strengths[0] == 0
    assert strengths == sorted(strengths)
    assert strengths[-1] == pytest.approx(1, abs=1e-4)
