"""Everything that changes while a run trains, captured and restored as one value."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from toolchain.networks.resnet import State
from toolchain.training.checkpoints import Checkpoint


class OptimizerState(NamedTuple):
    """The state of an optimiser: tensors by `<parameter index>.<name>`, and parameter groups."""

    tensors: State
    groups: list[dict[str, Any]]


class RandomState(NamedTuple):
    """The state of one process's random generators: tensors, and values that fit into JSON."""

    tensors: State
    values: dict[str, Any]


@dataclass(frozen=True)
class TrainerState:
    """What a trainer needs, beside its setup, to continue after its last finished epoch.

    In a checkpoint each group of tensors has a prefix: `model.`, `best.`, `optimizer.`, `average.`,
    `alignment.` and `random.<rank>.`; the validation logits of the best epoch are
    `best_logits`. Everything else is in the checkpoint's record.
    """

    stage: int
    """Index of the stage in `Setup.stages`."""
    history: tuple[dict[str, Any], ...]
    """The lines of metrics.jsonl, one for each finished epoch."""
    from_features: bool | None
    """Whether this stage trains from cached features; None before the first stage."""
    model: State
    """The tensors that training changes."""
    best_epoch: int
    best: State
    """The same tensors after the best epoch."""
    best_logits: Tensor
    """Of the validation images, float32 [images, classes]."""
    optimizer: OptimizerState
    schedule: dict[str, Any]
    scaler: dict[str, Any]
    average: State
    """The moving average of the weights; empty where none is kept."""
    average_steps: int
    random: tuple[RandomState, ...]
    """Of each process, by rank."""
    alignment: State = field(default_factory=dict)
    """What the alignment to another camera keeps; empty without one."""

    def to_checkpoint(self) -> Checkpoint:
        """Return the state as tensors by name and a record of plain values."""
        groups = {
            "model": self.model,
            "best": self.best,
            "optimizer": self.optimizer.tensors,
            "average": self.average,
            "alignment": self.alignment,
            **{f"random.{rank}": state.tensors for rank, state in enumerate(self.random)},
        }
        tensors = {
            f"{prefix}.{name}": tensor
            for prefix, group in groups.items()
            for name, tensor in group.items()
        }
        tensors["best_logits"] = self.best_logits
        record = {
            "stage": self.stage,
            "history": self.history,
            "best_epoch": self.best_epoch,
            "from_features": self.from_features,
            "optimizer_groups": self.optimizer.groups,
            "schedule": self.schedule,
            "scaler": self.scaler,
            "average_steps": self.average_steps,
            "random": [state.values for state in self.random],
        }
        return Checkpoint(tensors, record)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> TrainerState:
        """Return the state that `to_checkpoint` wrote."""
        tensors, record = checkpoint
        return cls(
            stage=record["stage"],
            history=tuple(record["history"]),
            from_features=record["from_features"],
            model=_with_prefix("model", tensors),
            best_epoch=record["best_epoch"],
            best=_with_prefix("best", tensors),
            best_logits=tensors["best_logits"],
            optimizer=OptimizerState(
                _with_prefix("optimizer", tensors), record["optimizer_groups"]
            ),
            schedule=record["schedule"],
            scaler=record["scaler"],
            average=_with_prefix("average", tensors),
            average_steps=record["average_steps"],
            alignment=_with_prefix("alignment", tensors),
            random=tuple(
                RandomState(_with_prefix(f"random.{rank}", tensors), values)
                for rank, values in enumerate(record["random"])
            ),
        )


def optimizer_state(optimizer: Optimizer) -> OptimizerState:
    """Return the state of an optimiser."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{key}": value
        for index, values in state["state"].items()
        for key, value in values.items()
        if isinstance(value, Tensor)
    }
    return OptimizerState(tensors, state["param_groups"])


def load_optimizer(optimizer: Optimizer, saved: OptimizerState) -> None:
    """Restore the state of an optimiser over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in saved.tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": saved.groups})


def random_state() -> RandomState:
    """Return the state of this process's random generators: torch, CUDA, numpy and Python."""
    tensors = {"cpu": torch.get_rng_state()}
    for index, state in enumerate(torch.cuda.get_rng_state_all()):
        tensors[f"cuda.{index}"] = state
    name, keys, *rest = np.random.get_state()
    tensors["numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
    return RandomState(tensors, {"python": random.getstate(), "numpy": [name, *rest]})


def load_random_state(saved: RandomState) -> None:
    """Restore the state of this process's random generators."""
    torch.set_rng_state(saved.tensors["cpu"])
    for index in range(torch.cuda.device_count()):
        if f"cuda.{index}" in saved.tensors:
            torch.cuda.set_rng_state(saved.tensors[f"cuda.{index}"], index)
    name, *rest = saved.values["numpy"]
    np.random.set_state((name, saved.tensors["numpy"].numpy().astype(np.uint32), *rest))
    version, internal, gauss = saved.values["python"]
    random.setstate((version, tuple(internal), gauss))


def _with_prefix(prefix: str, tensors: State) -> State:
    """Return the tensors whose names begin with `prefix` and a dot, named without it."""
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
