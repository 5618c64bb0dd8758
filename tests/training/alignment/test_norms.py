"""Statistics of two cameras: estimated from images, and kept apart in training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network
from toolchain.training.alignment.norms import (
    estimate_statistics,
    source_pass,
    statistics_of,
    with_statistics,
)
from toolchain.training.strategies import Stage, enter_stage, set_training_mode


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(build_network("resnet18", 3), IMAGENET_NORMALISATION)


def pixels(images: int = 6, brightness: int = 256) -> Tensor:
    generator = torch.Generator().manual_seed(images)
    return torch.randint(0, brightness, (images, 32, 32, 3), generator=generator).to(torch.uint8)


def outputs_of(classifier: Classifier, layer: str, images: Tensor) -> Tensor:
    """Return what a layer gives for images, without a gradient."""
    kept: list[Tensor] = []
    module = classifier.network.get_submodule(layer)
    hook = module.register_forward_hook(lambda _, __, output: kept.append(output))
    with torch.no_grad():
        classifier(images)
    hook.remove()
    return kept[0]


def test_the_statistics_of_a_norm_are_those_of_the_images_over_all_batches(
    classifier: Classifier,
) -> None:
    images = pixels(6, 90)
    estimate_statistics(classifier, [images[:4], images[4:]])
    seen = outputs_of(classifier, "conv1", images)
    norm = classifier.network.get_submodule("bn1")
    assert isinstance(norm, nn.BatchNorm2d)
    torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
    parts = [part.var((0, 2, 3)) * len(part) / 6 for part in (seen[:4], seen[4:])]
    torch.testing.assert_close(norm.running_var, sum(parts), rtol=1e-4, atol=1e-4)
    assert norm.momentum == 0.1


def test_estimating_leaves_the_mode_and_all_else_as_it_was(classifier: Classifier) -> None:
    classifier.train()
    before = {n: p.clone() for n, p in classifier.named_parameters()}
    estimate_statistics(classifier, [pixels()])
    assert all(module.training for module in classifier.modules())
    assert all(torch.equal(before[name], p) for name, p in classifier.named_parameters())


def test_a_pass_of_training_images_uses_their_statistics_and_leaves_the_targets(
    classifier: Classifier,
) -> None:
    source = statistics_of(classifier)
    expected = with_statistics(classifier, source)
    estimate_statistics(classifier, [pixels(6, 60)])
    target = statistics_of(classifier)
    enter_stage(classifier.network, Stage(1, 1, 16))  # the last block of layer4 is trained
    for each in (classifier, expected):
        enter_stage(each.network, Stage(1, 1, 16))
        set_training_mode(each)
    images = pixels(4)
    with source_pass(classifier, source):
        logits = classifier(images)
    torch.testing.assert_close(logits, expected(images))
    logits.sum().backward()  # what the backward pass needs was not overwritten
    after = statistics_of(classifier)
    assert all(torch.equal(after[name], target[name]) for name in target)


def test_a_pass_of_photographs_moves_the_statistics_of_trained_norms_alone(
    classifier: Classifier,
) -> None:
    enter_stage(classifier.network, Stage(1, 1, 16))
    set_training_mode(classifier)
    before = statistics_of(classifier)
    classifier(pixels(4))
    after = statistics_of(classifier)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {f"network.layer4.1.bn2.{key}" for key in ("running_mean", "running_var")}
