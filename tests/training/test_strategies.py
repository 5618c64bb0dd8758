from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from toolchain.errors import TrainingError
from toolchain.training.models import IMAGENET_NORMALISATION, Classifier, build_network
from toolchain.training.schedules import make_optimizer
from toolchain.training.settings_file import read_settings
from toolchain.training.strategies import Trainable, apply_strategy, set_training_mode


def strategy(arch: str, **given: Any) -> tuple[Classifier, Trainable]:
    classifier = Classifier(build_network(arch, 4), IMAGENET_NORMALISATION)
    return classifier, apply_strategy(classifier, read_settings(None, {"arch": arch, **given}))


def trained_names(classifier: Classifier) -> set[str]:
    return {name for name, p in classifier.network.named_parameters() if p.requires_grad}


def test_head_trains_the_new_classifier_alone() -> None:
    classifier, counts = strategy("resnet18", strategy="head")
    assert trained_names(classifier) == {"fc.weight", "fc.bias"}
    assert (counts.layers, counts.all_layers, counts.parameters) == (1, 18, 4 * 512 + 4)


def test_full_trains_everything() -> None:
    _, counts = strategy("resnet18", strategy="full")
    assert counts.parameters == counts.all_parameters
    assert counts.layers == 18


def test_partial_trains_from_a_stage_on() -> None:
    classifier, _ = strategy("resnet18", strategy="partial", freeze_until="layer4")
    assert {name.split(".")[0] for name in trained_names(classifier)} == {"layer4", "fc"}


def test_the_first_100_of_152_layers_leave_the_last_52(  # SOURCES, S3: lung CT
) -> None:
    classifier, counts = strategy("resnet152", strategy="partial", freeze_until="100")
    assert (counts.all_layers, counts.layers) == (152, 52)
    # conv1 and 33 blocks of three: 3 of layer1, 8 of layer2, 22 of layer3.
    names = trained_names(classifier)
    assert "layer3.22.conv1.weight" in names
    assert "layer3.21.conv3.weight" not in names
    assert "layer3.21.bn3.weight" not in names


def test_a_third_is_a_third_of_the_counted_layers() -> None:
    _, counts = strategy("resnet50", strategy="partial", freeze_until="third")
    assert (counts.all_layers, counts.layers) == (50, 50 - 16)


def test_a_shortcut_is_frozen_with_its_block() -> None:
    classifier, _ = strategy("resnet18", strategy="partial", freeze_until="6")
    frozen = {n for n, p in classifier.network.named_parameters() if not p.requires_grad}
    # Six layers: conv1, the four of layer1, and layer2.0.conv1 with the shortcut beside it.
    assert {"layer2.0.conv1.weight", "layer2.0.downsample.0.weight"} <= frozen
    assert "layer2.0.conv2.weight" not in frozen


def test_more_layers_than_there_are_is_refused() -> None:
    with pytest.raises(TrainingError, match="18 layers to freeze, and this network has 18"):
        strategy("resnet18", strategy="partial", freeze_until="18")


def test_training_leaves_frozen_layers_and_their_statistics_as_they_were() -> None:
    classifier, _ = strategy("resnet18", strategy="partial", freeze_until="layer4")
    before = {name: t.clone() for name, t in classifier.state_dict().items()}
    optimizer = make_optimizer(classifier, read_settings(None, {}))
    set_training_mode(classifier)
    logits = classifier(torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8))
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    optimizer.step()
    changed = {n for n, t in classifier.state_dict().items() if not torch.equal(t, before[n])}
    assert {name.split(".")[1] for name in changed} == {"layer4", "fc"}
    assert "network.layer4.0.bn1.running_mean" in changed


def test_head_and_backbone_have_their_own_rates_and_norms_no_decay() -> None:
    classifier, _ = strategy("resnet18", strategy="full")
    settings = read_settings(None, {"lr_head": 3e-3, "lr_backbone": 2e-4, "weight_decay": 0.1})
    groups = make_optimizer(classifier, settings).param_groups
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [
        (3e-3, 0.1),
        (3e-3, 0.0),
        (2e-4, 0.1),
        (2e-4, 0.0),
    ]
    assert all((p.ndim > 1) == (g["weight_decay"] > 0) for g in groups for p in g["params"])
