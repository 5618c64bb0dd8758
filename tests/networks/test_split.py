"""A split network computes the same as the whole network."""

from __future__ import annotations

import pytest
import torch

from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network
from toolchain.networks.split import FrozenBackbone, TrainableHead, network_parts


@pytest.mark.parametrize("arch", ["resnet18", "resnet50", "resnext50_32x4d"])
def test_backbone_and_head_together_equal_the_network_bit_for_bit_at_every_split(arch: str) -> None:
    torch.manual_seed(0)
    classifier = Classifier(build_network(arch, 3, dropout=0.5), IMAGENET_NORMALISATION).eval()
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = classifier(pixels)
        for frozen in range(1, len(network_parts(classifier.network))):
            features = FrozenBackbone(classifier, frozen)(pixels)
            assert torch.equal(TrainableHead(classifier, frozen)(features), expected), frozen
