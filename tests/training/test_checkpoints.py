from __future__ import annotations

import math
import random
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from toolchain.errors import TrainingError
from toolchain.networks.resnet import IMAGENET_NORMALISATION, Classifier, State
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings_file import read_settings
from toolchain.training import checkpoints
from toolchain.training.checkpoints import (
    Checkpoints,
    load_optimizer,
    load_random_state,
    optimizer_state,
    random_state,
    run_lock,
)
from toolchain.training.optim.schedules import Schedule, make_optimizer

TENSORS: State = {
    "odd": torch.tensor([0.1, -0.0, 1e-45, math.inf, math.nan]),
    "counter": torch.tensor(2**40),
    "scalar": torch.tensor(3.5),
    "bytes": torch.arange(6, dtype=torch.uint8).reshape(2, 3),
}
RECORD: dict[str, Any] = {
    "best": -math.inf,
    "worst": math.inf,
    "third": 0.1 + 0.2,
    "history": [{"epoch": 1, "val_auc": None, "rates": [1e-3, 5e-324]}],
}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path)
    run.checkpoints.mkdir()
    return run


def names(run: RunFolder) -> set[str]:
    return {file.name for file in run.checkpoints.iterdir()}


def test_a_checkpoint_comes_back_bit_for_bit(run: RunFolder) -> None:
    Checkpoints(run).save(7, TENSORS, RECORD)
    found = Checkpoints(run).load()
    assert found is not None
    tensors, record = found
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (tensors[name].dtype, tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert tensors[name].numpy().tobytes() == tensor.numpy().tobytes()
    assert {name: record[name] for name in RECORD} == RECORD


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(run: RunFolder) -> None:
    assert Checkpoints(run).load() is None
    assert Checkpoints(run).load_start() is None
    run.checkpoints.rmdir()
    assert Checkpoints(run).load() is None


def test_the_newest_replaces_those_before_it(run: RunFolder) -> None:
    for epoch in (1, 2, 10):
        Checkpoints(run).save(epoch, TENSORS, {"stage": epoch})
    assert names(run) == {"epoch-0010.safetensors", "epoch-0010.json"}
    found = Checkpoints(run).load()
    assert found is not None
    assert found[1]["stage"] == 10


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def flip(file: Path) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(damaged)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("epoch-0002.safetensors", cut),
        ("epoch-0002.safetensors", flip),
        ("epoch-0002.safetensors", Path.unlink),
        ("epoch-0002.json", Path.unlink),
        ("epoch-0002.json", cut),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(run: RunFolder, name: str, damage: Any) -> None:
    saved = Checkpoints(run)
    saved.save(1, TENSORS, {"stage": 1})
    older = {file.name: file.read_bytes() for file in run.checkpoints.iterdir()}
    saved.save(2, TENSORS, {"stage": 2})
    damage(run.checkpoints / name)
    assert saved.load() is None
    for file, data in older.items():
        (run.checkpoints / file).write_bytes(data)
    found = saved.load()
    assert found is not None
    assert found[1]["stage"] == 1


def test_a_disk_that_is_full_leaves_the_checkpoint_before_it(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Checkpoints(run).save(1, TENSORS, {"stage": 1})
    before = names(run)

    def write_some(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_some)
    with pytest.raises(OSError, match="No space left"):
        Checkpoints(run).save(2, TENSORS, {"stage": 2})
    assert names(run) == before
    found = Checkpoints(run).load()
    assert found is not None
    assert found[1]["stage"] == 1


def test_writing_takes_a_twentieth_of_the_time_at_most(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    write = checkpoints._write

    def slow_write(path: Path, data: bytes) -> None:
        write(path, data)
        clock[0] += 1.5

    monkeypatch.setattr("toolchain.training.checkpoints.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(checkpoints, "_write", slow_write)
    saved = Checkpoints(run)
    assert saved.due()
    saved.save(1, TENSORS, RECORD)  # two files, 3 s
    clock[0] += 56
    assert not saved.due()
    clock[0] += 4
    assert saved.due()


def test_the_start_is_kept_for_the_checkpoints(run: RunFolder) -> None:
    saved = Checkpoints(run)
    assert saved.load_start() is None
    saved.save_start(TENSORS, "file weights.pth")
    start = saved.load_start()
    assert start is not None
    frozen, origin = start
    assert origin == "file weights.pth"
    assert {n: t.numpy().tobytes() for n, t in frozen.items()} == {
        n: t.numpy().tobytes() for n, t in TENSORS.items()
    }


@pytest.mark.parametrize("name", ["start.json", "start.safetensors"])
@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_half_a_start_is_none(run: RunFolder, name: str, damage: Any) -> None:
    Checkpoints(run).save_start(TENSORS, "file weights.pth")
    damage(run.checkpoints / name)
    assert Checkpoints(run).load_start() is None


def test_a_run_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with (
        run_lock(run),
        pytest.raises(TrainingError, match=f"{tmp_path} is being trained by another process"),
        run_lock(run),
    ):
        pass
    with run_lock(run):
        pass


def made(**given: Any) -> tuple[nn.Module, Optimizer, Schedule]:
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
def test_an_optimiser_and_its_schedule_go_on_bit_for_bit(
    run: RunFolder, optimizer: str, schedule: str
) -> None:
    given = {"optimizer": optimizer, "schedule": schedule, "plateau_patience": 0, "step_epochs": 2}
    given |= {"warmup_epochs": 0 if schedule == "one-cycle" else 1}
    whole = made(**given)
    train(*whole, range(1, 3))
    tensors, groups = optimizer_state(whole[1])
    tensors = {f"optimizer.{name}": tensor for name, tensor in tensors.items()}
    record = {"groups": groups, "schedule": whole[2].state()}
    Checkpoints(run).save(2, {**whole[0].state_dict(), **tensors}, record)
    train(*whole, range(3, 6))

    network, again, rates = made(**given)
    found = Checkpoints(run).load()
    assert found is not None
    state = {n.removeprefix("optimizer."): t for n, t in found[0].items()}
    network.load_state_dict({n: state.pop(n) for n in network.state_dict()})
    load_optimizer(again, state, found[1]["groups"])
    rates.load(found[1]["schedule"])
    train(network, again, rates, range(3, 6))
    assert [g["lr"] for g in again.param_groups] == [g["lr"] for g in whole[1].param_groups]
    for name, tensor in whole[0].state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name


def drawn() -> list[Any]:
    return [
        torch.rand(3).tolist(),
        torch.randn(3).tolist(),
        np.random.random(3).tolist(),
        np.random.standard_normal(3).tolist(),
        random.random(),
        random.gauss(0, 1),
    ]


def test_every_random_generator_goes_on_where_it_was(run: RunFolder) -> None:
    before = random_state()
    drawn()  # an odd number of normal draws leaves one in reserve
    tensors, plain = random_state()
    Checkpoints(run).save(1, tensors, {"plain": plain})
    expected = drawn()
    assert drawn() != expected
    found = Checkpoints(run).load()
    assert found is not None
    load_random_state(found[0], found[1]["plain"])
    assert drawn() == expected
    load_random_state(*before)
