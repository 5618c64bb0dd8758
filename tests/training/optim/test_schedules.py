from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD, Optimizer

from tests.training.test_finetune import epochs_of, small
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, build_network
from toolchain.runs.settings_file import read_settings
from toolchain.training.finetune import finetune
from toolchain.training.optim.schedules import Schedule, make_optimizer
from toolchain.training.trainer_state import OptimizerState, load_optimizer, optimizer_state

pytestmark = pytest.mark.usefixtures("no_plots")

STEPS = 10
"""Optimiser steps in an epoch."""
SCHEDULES = [
    {"schedule": "constant"},
    {"schedule": "constant", "warmup_epochs": 2},
    {"schedule": "plateau", "plateau_patience": 1},
    {"schedule": "plateau", "plateau_patience": 0, "warmup_epochs": 2},
    {"schedule": "cosine"},
    {"schedule": "cosine", "warmup_epochs": 3},
    {"schedule": "one-cycle"},
    {"schedule": "step", "step_epochs": 2},
    {"schedule": "step", "step_epochs": 2, "warmup_epochs": 1},
]


class Run:
    """An optimiser and its schedule, advanced by steps and by a score after each epoch."""

    def __init__(self, **given: Any) -> None:
        weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
        groups = [{"params": [w], "lr": lr} for w, lr in zip(weights, (1.0, 0.1), strict=True)]
        self.optimizer: Optimizer = SGD(groups)
        self.schedule = Schedule(self.optimizer, read_settings(None, given), STEPS)

    def rates(self, scores: list[float], group: int = 0) -> list[float]:
        """Return the rate at each step of these epochs; group 0 starts from 1, group 1 from 0.1."""
        rates = []
        for score in scores:
            for _ in range(STEPS):
                rates.append(self.optimizer.param_groups[group]["lr"])
                self.optimizer.step()
                self.schedule.after_step()
            self.schedule.after_epoch(score)
        return rates


def starts(rates: list[float]) -> list[float]:
    """Return the rate that each epoch starts with."""
    return rates[::STEPS]


def test_constant_rates_stay() -> None:
    assert set(Run(schedule="constant").rates([0.1, 0.2, 0.2, 0.1])) == {1.0}


def test_rates_rise_in_equal_steps_while_warming_up() -> None:
    rates = Run(schedule="constant", warmup_epochs=2).rates([0.5] * 4)
    rising = [(1 + step) / 21 for step in range(20)]
    assert rates == pytest.approx(rising + [1.0] * 20)


def test_a_plateau_multiplies_the_rates_when_patience_is_exceeded() -> None:
    run = Run(schedule="plateau", plateau_factor=0.2, plateau_patience=2)
    scores = [0.5, 0.6, 0.6, 0.5, 0.6, 0.6, 0.6, 0.6, 0.7]
    # The gain of the second epoch is followed by three without, and by three more.
    assert starts(run.rates(scores)) == pytest.approx([1, 1, 1, 1, 1, 0.2, 0.2, 0.2, 0.04])


def test_a_gain_restarts_the_patience_of_a_plateau() -> None:
    run = Run(schedule="plateau", plateau_patience=1)
    assert set(run.rates([0.1, 0.1, 0.2, 0.2, 0.3, 0.3])) == {1.0}


@pytest.mark.parametrize(
    "change",
    [
        -0.01,
        0.0,
    ],
)
def test_a_loss_that_does_not_fall_is_a_plateau_too(change: float) -> None:
    run = Run(schedule="plateau", plateau_patience=0, metric="loss")
    # The score of a loss is the loss negated.
    scores = [-0.5 + change * epoch for epoch in range(4)]
    assert starts(run.rates(scores)) == pytest.approx([1, 1, 0.5, 0.25])


def test_a_cosine_falls_to_the_lowest_rate_at_the_end() -> None:
    rates = Run(schedule="cosine", epochs=4, eta_min=1e-3).rates([0.5] * 4)
    assert rates[0] == 1.0
    assert rates[20] == pytest.approx(0.5, abs=1e-3)
    assert rates == sorted(rates, reverse=True)
    assert 1e-3 < rates[-1] < 3e-3


def test_a_cosine_after_a_warm_up_starts_from_the_whole_rate_and_ends_in_time() -> None:
    rates = Run(schedule="cosine", epochs=4, warmup_epochs=1, eta_min=1e-3).rates([0.5] * 4)
    assert rates[:10] == pytest.approx([(1 + step) / 11 for step in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[25] == pytest.approx(0.5, abs=1e-3)
    assert 1e-3 < rates[-1] < 5e-3


def test_a_cosine_of_fewer_epochs_is_at_its_lowest_after_them() -> None:
    rates = Run(schedule="cosine", epochs=8, t_max=4, eta_min=0.0).rates([0.5] * 5)
    assert min(rates) == pytest.approx(0, abs=1e-9)
    assert rates.index(min(rates)) == 40


def test_one_cycle_rises_to_the_rate_and_ends_far_below_its_start() -> None:
    rates = Run(schedule="one-cycle", epochs=10, cycle_warmup=0.3).rates([0.5] * 10)
    top = rates.index(max(rates))
    assert top == 29
    assert rates[top] == pytest.approx(1.0)
    assert rates[0] < 0.1
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < rates[0] / 100


def test_one_cycle_may_warm_up_for_a_single_step() -> None:
    rates = Run(schedule="one-cycle", epochs=2, cycle_warmup=1 / (2 * STEPS)).rates([0.5] * 2)
    assert rates[1] == max(rates) == pytest.approx(1.0)


@pytest.mark.parametrize("given", SCHEDULES, ids=str)
def test_backbone_and_classifier_keep_their_proportion(given: dict[str, Any]) -> None:
    scores = [0.3, 0.4, 0.4, 0.35, 0.5, 0.5]
    classifier, backbone = (
        Run(epochs=6, eta_min=0.0, **given).rates(scores, group) for group in (0, 1)
    )
    assert backbone == pytest.approx([rate / 10 for rate in classifier])


def test_steps_multiply_the_rates_every_so_many_epochs() -> None:
    run = Run(schedule="step", step_epochs=2, step_factor=0.1)
    assert starts(run.rates([0.5] * 6)) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize("given", SCHEDULES, ids=str)
@pytest.mark.parametrize("epochs", [1, 4])
def test_a_restored_schedule_continues_as_the_original(given: dict[str, Any], epochs: int) -> None:
    scores = [0.3, 0.4, 0.4, 0.35, 0.5, 0.5, 0.5, 0.5]
    whole = Run(epochs=8, **given).rates(scores)
    first, second = Run(epochs=8, **given), Run(epochs=8, **given)
    before = first.rates(scores[:epochs])
    tensors, groups = optimizer_state(first.optimizer)
    stored = json.loads(json.dumps([groups, first.schedule.state()]))
    load_optimizer(second.optimizer, OptimizerState(tensors, stored[0]))
    second.schedule.load(stored[1])
    assert before + second.rates(scores[epochs:]) == whole


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"schedule": "plateau", "plateau_patience": 0}, [1, 1, 0.5, 0.25]),
        # Three batches make two steps.
        ({"schedule": "cosine", "warmup_epochs": 2, "accumulate": 2}, [0.2, 0.6, 1, 0.5]),
        ({"schedule": "one-cycle"}, [0.04, 0.994, 0.648, 0.134]),
        ({"schedule": "step", "step_epochs": 2}, [1, 1, 0.1, 0.1]),
    ],
    ids=str,
)
def test_epochs_of_a_run_have_the_rates_of_their_schedule(
    stripes: Path, tmp_path: Path, given: dict[str, Any], expected: list[float]
) -> None:
    # A rate this small leaves the accuracy where it is, so that each epoch is on a plateau.
    fixed = {"strategy": "head", "augment": "none", "lr_head": 1e-6, "eta_min": 0.0}
    run = finetune(small(stripes, epochs=4, **fixed, **given), tmp_path / "run").run
    rates = [row["learning_rates"][0] * 1e6 for row in epochs_of(run)]
    assert rates == pytest.approx(expected, rel=0.01)


def groups_of(**given: Any) -> dict[str, tuple[float, float]]:
    """Return (rate, weight decay) of each trained parameter by its name."""
    classifier = Classifier(build_network("resnet18", 3), IMAGENET_NORMALISATION)
    groups = make_optimizer(classifier, read_settings(None, given)).param_groups
    names = {id(p): name for name, p in classifier.network.named_parameters()}
    found = [(names[id(p)], (g["lr"], g["weight_decay"])) for g in groups for p in g["params"]]
    assert len(found) == len(names) == len(dict(found)), "a parameter is missing or there twice"
    return dict(found)


def test_classifier_and_backbone_have_their_own_rates() -> None:
    found = groups_of(lr_head=3e-3, lr_backbone=2e-4)
    rates = {name: rate for name, (rate, _) in found.items()}
    assert {rates.pop("fc.weight"), rates.pop("fc.bias")} == {3e-3}
    assert set(rates.values()) == {2e-4}


def test_layer_decay_gives_each_stage_a_share_of_the_rate_of_the_one_after_it() -> None:
    found = groups_of(lr_head=1.0, lr_backbone=0.16, layer_decay=0.5)
    by_part: dict[str, set[float]] = {}
    for name, (rate, _) in found.items():
        by_part.setdefault(name.split(".")[0], set()).add(rate)
    assert by_part == {
        "fc": {1.0},
        "layer4": {0.16},
        "layer3": {0.08},
        "layer2": {0.04},
        "layer1": {0.02},
        "conv1": {0.01},
        "bn1": {0.01},
    }


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_weights_decay_and_norms_and_biases_do_not(optimizer: str, layer_decay: float) -> None:
    found = groups_of(optimizer=optimizer, weight_decay=0.1, layer_decay=layer_decay)
    decaying = {name for name, (_, decay) in found.items() if decay}
    kernels = {name for name in found if "conv" in name or name.endswith("downsample.0.weight")}
    assert decaying == kernels | {"fc.weight"}
    assert {decay for _, decay in found.values()} == {0.0, 0.1}


def test_training_with_weight_decay_alone_shrinks_the_weights_and_leaves_the_norms() -> None:
    """SGD, because Adam and AdamW turn the same decay into other steps."""
    classifier = Classifier(build_network("resnet18", 3), IMAGENET_NORMALISATION)
    settings = read_settings(None, {"optimizer": "sgd", "weight_decay": 0.1, "lr_backbone": 0.1})
    optimizer = make_optimizer(classifier, settings)
    before = {name: p.detach().clone() for name, p in classifier.network.named_parameters()}
    for parameter in classifier.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name in ("layer1.0.conv1.weight", "layer1.0.bn1.weight"):
        now = classifier.network.get_parameter(name)
        factor = 1 - 0.1 * 0.1 if "conv" in name else 1.0
        torch.testing.assert_close(now, before[name] * factor)
