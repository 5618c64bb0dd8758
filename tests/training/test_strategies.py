from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.training.test_finetune import small
from toolchain.errors import TrainingError
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network
from toolchain.progress import SilentReporter
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.settings_file import read_settings
from toolchain.training.finetune import finetune
from toolchain.training.optim.schedules import make_optimizer
from toolchain.training.strategies import (
    Stage,
    TrainableCounts,
    enter_stage,
    plan_stages,
    set_training_mode,
)

pytestmark = pytest.mark.usefixtures("no_plots")


class Listener(SilentReporter):
    """Records the messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def plan(arch: Any, **given: Any) -> tuple[Stage, ...]:
    with torch.device("meta"):  # no memory for weights that are not used
        network = build_network(arch, 4)
    # Not judged: the plan of settings that `rtl finetune` refuses has to hold too.
    return plan_stages(network, FinetuneSettings(arch=arch, **given))


def strategy(arch: Any, device: str = "meta", **given: Any) -> tuple[Classifier, TrainableCounts]:
    """Return a classifier in the last stage of a strategy, and what is trainable in it."""
    with torch.device(device):
        classifier = Classifier(build_network(arch, 4), IMAGENET_NORMALISATION)
    stages = plan_stages(classifier.network, FinetuneSettings(arch=arch, **given))
    return classifier, enter_stage(classifier.network, stages[-1])


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


@pytest.mark.parametrize("name", ["head", "partial", "full"])
def test_a_strategy_without_stages_keeps_to_one_for_all_epochs(name: str) -> None:
    [stage] = plan("resnet18", strategy=name, epochs=7)
    assert (stage.first_epoch, stage.epochs) == (1, 7)


@pytest.mark.parametrize(
    ("arch", "layers"), [("resnet18", 18), ("resnet50", 50), ("resnet152", 152)]
)
def test_a_network_has_the_layers_that_it_is_named_for(arch: str, layers: int) -> None:
    _, counts = strategy(arch, strategy="full")
    assert (counts.layers, counts.all_layers) == (layers, layers)


@pytest.mark.parametrize(
    ("arch", "freeze_until", "trained"),
    [
        # The layers of each stage are those of He et al. 2016, table 1, and the classifier.
        ("resnet18", "layer1", 17),
        ("resnet18", "layer2", 13),
        ("resnet18", "layer3", 9),
        ("resnet18", "layer4", 5),
        ("resnet50", "layer3", 6 * 3 + 3 * 3 + 1),
        ("resnet50", "layer4", 3 * 3 + 1),
        ("resnet152", "layer2", (8 + 36 + 3) * 3 + 1),
        ("resnet152", "layer4", 3 * 3 + 1),
        ("resnet18", "third", 12),
        ("resnet50", "third", 34),
        ("resnet152", "third", 102),
        ("resnet18", "0", 18),
        ("resnet18", "17", 1),
        ("resnet152", "100", 52),  # SOURCES, S3: lung CT
    ],
)
def test_partial_trains_the_layers_from_a_stage_a_third_or_a_number_on(
    arch: str, freeze_until: str, trained: int
) -> None:
    _, counts = strategy(arch, strategy="partial", freeze_until=freeze_until)
    assert counts.layers == trained


def test_partial_trains_from_a_stage_on() -> None:
    classifier, _ = strategy("resnet18", strategy="partial", freeze_until="layer4")
    assert {name.split(".")[0] for name in trained_names(classifier)} == {"layer4", "fc"}


def test_the_first_100_of_152_layers_end_within_the_third_stage() -> None:
    classifier, counts = strategy("resnet152", strategy="partial", freeze_until="100")
    assert counts.all_layers == 152
    # conv1 and 33 blocks of three: 3 of layer1, 8 of layer2, 22 of layer3.
    names = trained_names(classifier)
    assert "layer3.22.conv1.weight" in names
    assert "layer3.21.conv3.weight" not in names
    assert "layer3.21.bn3.weight" not in names


def test_a_shortcut_is_frozen_with_its_block() -> None:
    classifier, _ = strategy("resnet18", strategy="partial", freeze_until="6")
    frozen = {n for n, p in classifier.network.named_parameters() if not p.requires_grad}
    # Six layers: conv1, the four of layer1, and layer2.0.conv1 with the shortcut beside it.
    assert {"layer2.0.conv1.weight", "layer2.0.downsample.0.weight"} <= frozen
    assert "layer2.0.conv2.weight" not in frozen


@pytest.mark.parametrize("name", ["partial", "two-stage"])
def test_more_layers_than_there_are_is_refused(name: str) -> None:
    with pytest.raises(TrainingError, match="18 layers to freeze, and this network has 18"):
        strategy("resnet18", strategy=name, freeze_until="18")


def test_two_stage_trains_the_head_and_then_what_partial_would() -> None:
    given = {"epochs": 12, "head_epochs": 3, "freeze_until": "layer3"}
    first, second = plan("resnet18", strategy="two-stage", **given)
    assert first == Stage(1, 3, frozen=17)
    assert second == Stage(4, 9, frozen=plan("resnet18", strategy="partial", **given)[0].frozen)


def test_progressive_trains_so_many_more_layers_each_time_until_all_are_trained() -> None:
    stages = plan(
        "resnet18", strategy="progressive", epochs=20, unfreeze_layers=7, unfreeze_every=4
    )
    assert [stage.frozen for stage in stages] == [17, 10, 3, 0]
    # The last stage lasts to the end.
    assert [stage.epochs for stage in stages] == [4, 4, 4, 8]


@pytest.mark.parametrize("every", [1, 2, 5, 30])
@pytest.mark.parametrize("layers", [1, 10, 100])
@pytest.mark.parametrize("epochs", [1, 2, 9, 25])
def test_progressive_covers_every_epoch_once_and_never_freezes_again(
    epochs: int, layers: int, every: int
) -> None:
    stages = plan(
        "resnet18",
        strategy="progressive",
        epochs=epochs,
        unfreeze_layers=layers,
        unfreeze_every=every,
    )
    covered = [stage.first_epoch + i for stage in stages for i in range(stage.epochs)]
    assert covered == list(range(1, epochs + 1))
    frozen = [stage.frozen for stage in stages]
    assert frozen[0] == 17
    assert all(after < before for before, after in pairwise(frozen))


def test_a_stage_reports_how_many_layers_and_parameters_it_trains() -> None:
    with torch.device("meta"):
        network = build_network("resnet18", 4)
    assert str(enter_stage(network, Stage(1, 1, frozen=17))) == (
        "training 1 of 18 layers, 2,052 of 11,178,564 parameters (0.02%)"
    )
    assert str(enter_stage(network, Stage(2, 1, frozen=0))) == (
        "training 18 of 18 layers, 11,178,564 of 11,178,564 parameters (100.00%)"
    )


def test_training_leaves_frozen_layers_and_their_statistics_as_they_were() -> None:
    classifier, _ = strategy("resnet18", "cpu", strategy="partial", freeze_until="layer4")
    before = {name: t.clone() for name, t in classifier.state_dict().items()}
    optimizer = make_optimizer(classifier, read_settings(None, {}))
    set_training_mode(classifier)
    logits = classifier(torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8))
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 3])).backward()
    optimizer.step()
    changed = {n for n, t in classifier.state_dict().items() if not torch.equal(t, before[n])}
    assert {name.split(".")[1] for name in changed} == {"layer4", "fc"}
    assert "network.layer4.0.bn1.running_mean" in changed


def test_a_two_stage_run_changes_only_the_statistics_of_trained_layers(
    stripes: Path, tmp_path: Path
) -> None:
    listener = Listener()
    settings = small(
        stripes, strategy="two-stage", head_epochs=1, epochs=4, cache=False, augment="none"
    )
    result = finetune(settings, tmp_path / "run", progress=listener)
    assert result.summary.best_epoch > 1, "the kept weights are those of the first stage"
    state = load_file(result.run.weights)
    changed = {
        name.split(".")[1]
        for name, tensor in state.items()
        if name.endswith("running_mean") and tensor.any()  # they start from 0
    }
    assert changed == {"layer4"}
    assert state["network.layer4.0.bn1.num_batches_tracked"] == 3 * (result.summary.best_epoch - 1)
    messages = [line.split(",")[0] for line in listener.lines if " of 18 layers" in line]
    assert messages == ["epoch 1: training 1 of 18 layers", "epoch 2: training 5 of 18 layers"]
