"""A classifier that reads several stages; its logits are checked in test_resnet.py."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import get_args

import pytest
import torch

from toolchain.networks.resnet import (
    IMAGENET_NORMALISATION,
    Classifier,
    build_network,
    with_head_stages,
)
from toolchain.networks.split import FrozenBackbone, TrainableHead, network_parts
from toolchain.networks.weights import load_classifier, start_classifier, weights_bytes
from toolchain.progress import SilentReporter
from toolchain.runtime.card import HeadStages

HEAD_STAGES: list[HeadStages] = ["last-two", "all"]
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def small() -> Classifier:
    torch.manual_seed(0)
    return Classifier(build_network("resnet18", 3, head_stages="all"), IMAGENET_NORMALISATION)


@pytest.mark.parametrize("head_stages", HEAD_STAGES)
def test_frozen_backbone_and_head_equal_the_network_at_every_split(head_stages: HeadStages) -> None:
    torch.manual_seed(0)
    network = build_network("resnet18", 3, dropout=0.5, head_stages=head_stages)
    classifier = Classifier(network, IMAGENET_NORMALISATION).eval()
    # Channels first in memory, as kept features are: other kernels round otherwise.
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8).permute(0, 2, 3, 1)
    with torch.inference_mode():
        expected = classifier(pixels)
        for frozen in range(1, len(network_parts(network))):
            features = FrozenBackbone(classifier, frozen)(pixels)
            assert torch.equal(TrainableHead(classifier, frozen)(features), expected), frozen


def test_the_tensors_have_torchvisions_names(small: Classifier) -> None:
    plain = build_network("resnet18", 3)
    own = small.network
    assert list(own.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in own.named_modules()] == [name for name, _ in plain.named_modules()]
    assert own.get_submodule("fc").in_features == 64 + 128 + 256 + 512


@pytest.mark.parametrize("head_stages", get_args(HeadStages))
def test_another_head_on_the_same_backbone_reads_what_is_asked_for(
    small: Classifier, head_stages: HeadStages
) -> None:
    changed = with_head_stages(small, head_stages)
    built = build_network("resnet18", 3, head_stages=head_stages)
    built.load_state_dict(changed.network.state_dict())
    with torch.inference_mode():
        assert torch.equal(changed.network.eval()(IMAGES), built.eval()(IMAGES))
    assert changed.network.get_submodule("layer1") is small.network.get_submodule("layer1")
    assert small.network.get_submodule("fc").in_features == 960, "the given one stays"


def test_weights_of_a_plain_network_start_the_backbone_and_a_run_keeps_its_head(
    small: Classifier, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.safetensors"
    plain.write_bytes(weights_bytes(build_network("resnet18", 7).state_dict()))
    started, _ = start_classifier(
        "resnet18",
        ("a", "b", "c"),
        str(plain),
        dropout=0.0,
        head_stages="all",
        progress=SilentReporter(),
    )
    assert started.network.get_submodule("fc").in_features == 960
    kept = tmp_path / "model.safetensors"
    kept.write_bytes(weights_bytes(small.state_dict()))
    loaded = load_classifier("resnet18", 3, kept, IMAGENET_NORMALISATION, "all")
    with torch.inference_mode():
        expected = copy.deepcopy(small).eval().network(IMAGES)
        assert torch.equal(loaded.network(IMAGES), expected)
