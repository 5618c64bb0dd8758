"""Activation maps that add up to the logits, and training images that are nearest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network, last_linear
from toolchain.progress import SilentReporter
from toolchain.reporting.images.activation import activations, overlaid
from toolchain.reporting.images.neighbours import TrainingImages, readable_pixels
from toolchain.runs.trained_run import TrainedRun


@pytest.fixture(scope="module")
def run(run_folder: Path) -> TrainedRun:
    return TrainedRun.open(run_folder)


def test_a_map_adds_up_to_the_logit_of_its_class(run: TrainedRun) -> None:
    samples = run.dataset.val[:3]
    pixels = [readable_pixels(sample, run.card.preprocessing) for sample in samples]
    images = [image for image in pixels if image is not None]
    with torch.inference_mode():
        logits = run.classifier(torch.from_numpy(np.stack(images))).numpy()
        bias = last_linear(run.classifier.network).bias.numpy()
    maps = [found.maps.mean(axis=(1, 2)) for found in activations(run.classifier, images)]
    np.testing.assert_allclose(np.stack(maps) + bias, logits, atol=1e-4)


@pytest.mark.parametrize("size", [64, 72])  # sides 16, 8, 4, 2 and 18, 9, 5, 3
def test_a_map_of_several_stages_adds_up_to_the_logit_too(size: int) -> None:
    torch.manual_seed(0)
    network = build_network("resnet18", 3, head_stages="all")
    classifier = Classifier(network, IMAGENET_NORMALISATION).eval()
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    linear = last_linear(network)
    with torch.inference_mode():
        logits = classifier(images).numpy()
        found = list(activations(classifier, images.numpy()))
        taken = torch.from_numpy(np.stack([one.features for one in found]))
        np.testing.assert_allclose(linear(taken).numpy(), logits, atol=1e-4)
    maps = np.stack([one.maps.mean(axis=(1, 2)) for one in found])
    np.testing.assert_allclose(maps + linear.bias.detach().numpy(), logits, atol=1e-4)


def test_the_nearest_training_image_of_a_training_image_is_itself(run: TrainedRun) -> None:
    training = TrainingImages(run, SilentReporter())
    assert (len(training.samples), training.total) == (48, 48)
    for index in (0, 20, 47):
        found = training.nearest(training.features[index])
        assert run.dataset.name_of(training.samples[index].path) == found[0].name
        assert found[0].similarity == pytest.approx(1)
        labels = [run.dataset.classes[label] for label in training.samples[index].labels]
        assert list(found[0].labels) == labels


def test_only_places_that_speak_for_the_class_are_coloured() -> None:
    pixels = np.full((32, 32, 3), 100, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0], heat[3, 3] = 5.0, -5.0
    shown = overlaid(pixels, heat).astype(int)
    redness = shown[..., 0] - shown[..., 2]
    assert redness[3, 3] > 60
    assert abs(redness[28, 28]) < 5
    assert abs(overlaid(pixels, -np.ones((4, 4), np.float32)).astype(int).std(axis=2)).max() < 1
