from __future__ import annotations

import random
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings_file import read_settings
from toolchain.training.checkpoints import Checkpoint, Checkpoints
from toolchain.training.optim.schedules import Schedule, make_optimizer
from toolchain.training.trainer_state import (
    OptimizerState,
    RandomState,
    TrainerState,
    load_optimizer,
    load_random_state,
    optimizer_state,
    random_state,
)

STATE = TrainerState(
    stage=1,
    history=({"epoch": 1, "val_auc": None}, {"epoch": 2, "val_auc": 0.75}),
    from_features=True,
    model={"fc.weight": torch.tensor([1.0])},
    best_epoch=1,
    best={"fc.weight": torch.tensor([2.0])},
    best_logits=torch.tensor([[0.5, -0.5]]),
    optimizer=OptimizerState({"0.exp_avg": torch.tensor([3.0])}, [{"lr": 1e-3, "params": [0]}]),
    schedule={"warmup_left": 4},
    scaler={},
    average={"fc.weight": torch.tensor([4.0])},
    average_steps=6,
    random=(
        RandomState({"cpu": torch.tensor([5])}, {"python": [3]}),
        RandomState({"cpu": torch.tensor([6])}, {"python": [4]}),
    ),
)
CHECKPOINT = Checkpoint(
    {
        "model.fc.weight": torch.tensor([1.0]),
        "best.fc.weight": torch.tensor([2.0]),
        "best_logits": torch.tensor([[0.5, -0.5]]),
        "optimizer.0.exp_avg": torch.tensor([3.0]),
        "average.fc.weight": torch.tensor([4.0]),
        "random.0.cpu": torch.tensor([5]),
        "random.1.cpu": torch.tensor([6]),
    },
    {
        "stage": 1,
        "history": [{"epoch": 1, "val_auc": None}, {"epoch": 2, "val_auc": 0.75}],
        "best_epoch": 1,
        "from_features": True,
        "optimizer_groups": [{"lr": 1e-3, "params": [0]}],
        "schedule": {"warmup_left": 4},
        "scaler": {},
        "average_steps": 6,
        "random": [{"python": [3]}, {"python": [4]}],
    },
)
"""The names in a checkpoint on disk: a run that an earlier rtl stopped must be resumable."""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path)
    run.checkpoints.mkdir()
    return run


def through_files(run: RunFolder, state: TrainerState) -> TrainerState:
    """Return a state that was written to a checkpoint and read from it again."""
    Checkpoints(run).save(2, state.to_checkpoint())
    checkpoint = Checkpoints(run).load()
    assert checkpoint is not None
    return TrainerState.from_checkpoint(checkpoint)


def assert_same_tensors(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


def test_a_state_is_written_under_the_names_of_the_checkpoint_format(run: RunFolder) -> None:
    Checkpoints(run).save(2, STATE.to_checkpoint())
    found = Checkpoints(run).load()
    assert found is not None
    assert_same_tensors(found.tensors, CHECKPOINT.tensors)
    assert found.record.keys() - CHECKPOINT.record.keys() == {"epoch", "sha256"}
    assert {name: found.record[name] for name in CHECKPOINT.record} == CHECKPOINT.record


def test_a_checkpoint_gives_back_the_state_that_was_written() -> None:
    state = TrainerState.from_checkpoint(CHECKPOINT)
    assert (state.stage, state.history, state.best_epoch) == (1, STATE.history, 1)
    assert (state.from_features, state.schedule, state.scaler) == (True, STATE.schedule, {})
    assert (state.average_steps, state.optimizer.groups) == (6, STATE.optimizer.groups)
    assert [saved.values for saved in state.random] == [saved.values for saved in STATE.random]
    assert torch.equal(state.best_logits, STATE.best_logits)
    for found, expected in (
        (state.model, STATE.model),
        (state.best, STATE.best),
        (state.average, STATE.average),
        (state.optimizer.tensors, STATE.optimizer.tensors),
        *zip(
            (saved.tensors for saved in state.random),
            (saved.tensors for saved in STATE.random),
            strict=True,
        ),
    ):
        assert_same_tensors(found, expected)


def make_training(**given: Any) -> tuple[nn.Module, Optimizer, Schedule]:
    """Return a small network, its optimiser and its schedule."""
    torch.manual_seed(0)
    layers = {
        "conv1": nn.Conv2d(3, 4, 3, bias=False),
        "bn1": nn.BatchNorm2d(4),
        "layer4": nn.Conv2d(4, 8, 3),
        "flatten": nn.Flatten(),
        "fc": nn.Linear(8 * 4 * 4, 3),
    }
    network = nn.Sequential(OrderedDict(layers))
    settings = read_settings(None, {"lr_backbone": 1e-2, "epochs": 5, **given})
    optimizer = make_optimizer(Classifier(network, IMAGENET_NORMALISATION), settings)
    return network, optimizer, Schedule(optimizer, settings, steps=2)


def train(network: nn.Module, optimizer: Optimizer, schedule: Schedule, epochs: range) -> None:
    for epoch in epochs:
        for step in range(2):
            generator = torch.Generator().manual_seed(10 * epoch + step)
            logits = network(torch.randn(3, 3, 8, 8, generator=generator))
            nn.functional.cross_entropy(logits, torch.arange(3)).backward()
            optimizer.step()
            schedule.after_step()
            optimizer.zero_grad()
        schedule.after_epoch(score=1.0 / epoch)


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        ("adam", "constant"),
        ("adam", "plateau"),
        ("adamw", "cosine"),
        ("sgd", "one-cycle"),
        ("sgd", "step"),
    ],
)
def test_an_optimiser_and_its_schedule_continue_bit_for_bit(
    run: RunFolder, optimizer: str, schedule: str
) -> None:
    given = {"optimizer": optimizer, "schedule": schedule, "plateau_patience": 0, "step_epochs": 2}
    given |= {"warmup_epochs": 0 if schedule == "one-cycle" else 1}
    network, own_optimizer, own_schedule = make_training(**given)
    train(network, own_optimizer, own_schedule, range(1, 3))
    state = replace(
        STATE,
        model=network.state_dict(),
        optimizer=optimizer_state(own_optimizer),
        schedule=own_schedule.state(),
    )
    restored = through_files(run, state)
    train(network, own_optimizer, own_schedule, range(3, 6))

    again, its_optimizer, its_schedule = make_training(**given)
    again.load_state_dict(restored.model)
    load_optimizer(its_optimizer, restored.optimizer)
    its_schedule.load(restored.schedule)
    train(again, its_optimizer, its_schedule, range(3, 6))
    rates, its_rates = ([g["lr"] for g in o.param_groups] for o in (own_optimizer, its_optimizer))
    assert its_rates == rates
    for name, tensor in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def draw() -> list[Any]:
    """Draw from every generator, and return the numbers."""
    return [
        torch.rand(3).tolist(),
        torch.randn(3).tolist(),
        np.random.random(3).tolist(),
        np.random.standard_normal(3).tolist(),
        random.random(),
        random.gauss(0, 1),
    ]


def test_every_random_generator_continues_where_it_was(run: RunFolder) -> None:
    before = random_state()
    draw()  # an odd number of normal draws leaves one in reserve
    restored = through_files(run, replace(STATE, random=(random_state(),)))
    expected = draw()
    assert draw() != expected
    load_random_state(restored.random[0])
    assert draw() == expected
    load_random_state(before)
