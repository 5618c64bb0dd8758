"""The modules: uint8 pixels in, logits and probabilities out."""

from __future__ import annotations

import pytest
import torch

from toolchain.networks.resnet import (
    IMAGENET_NORMALISATION,
    Classifier,
    InferenceModel,
    build_network,
)
from toolchain.networks.torchvision_import import import_torchvision
from toolchain.runs.settings import ARCHITECTURES


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_backbone_classifies_uint8_pixels(arch: str) -> None:
    with torch.device("meta"):  # drawing random weights takes seconds of the large ones
        network = build_network(arch, 5)
    classifier = Classifier(network.to_empty(device="cpu"), IMAGENET_NORMALISATION).eval()
    with torch.inference_mode():
        for parameter in network.parameters():
            parameter.zero_()
        logits = classifier(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    assert logits.shape == (1, 5)


def test_normalisation_equals_that_of_torchvision() -> None:
    network = torch.nn.Identity()
    pixels = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    found = Classifier(network, IMAGENET_NORMALISATION)(pixels)
    functional = import_torchvision().transforms.v2.functional
    scaled = functional.to_dtype(pixels.permute(0, 3, 1, 2), torch.float32, scale=True)
    expected = functional.normalize(
        scaled, list(IMAGENET_NORMALISATION.mean), list(IMAGENET_NORMALISATION.std)
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_probabilities_are_softmax_at_the_temperature() -> None:
    classifier = Classifier(build_network("resnet18", 3), IMAGENET_NORMALISATION).eval()
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        probabilities, logits = InferenceModel(classifier, 2.5)(pixels)
    torch.testing.assert_close(probabilities, torch.softmax(logits / 2.5, dim=1))


def test_multi_label_probabilities_are_independent_sigmoids() -> None:
    classifier = Classifier(build_network("resnet18", 3), IMAGENET_NORMALISATION).eval()
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        probabilities, logits = InferenceModel(classifier, 2.5, "multi-label")(pixels)
    torch.testing.assert_close(probabilities, torch.sigmoid(logits / 2.5))
