"""Checkpoints: all that training needs to go on as if it had never stopped.

An epoch's checkpoint is two files: `epoch-0007.safetensors` with the tensors (weights, optimiser,
moving average, best weights, random generators) and `epoch-0007.json` with everything else. The
JSON is written last and names the digest of the other, so that a checkpoint exists as a whole or
not at all, wherever the process is killed; the one before it is removed only after that.

The frozen weights never change; `start.safetensors` holds them once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load
from torch.optim import Optimizer

from toolchain.errors import TrainingError
from toolchain.files import atomic_file
from toolchain.networks.resnet import State
from toolchain.networks.weights import weights_bytes
from toolchain.runs.runfolder import RunFolder

Checkpoint = tuple[State, dict[str, Any]]
"""Tensors by name, and everything else."""

MOST_OVERHEAD = 0.05
"""Writing may take this share of the time; an epoch of cached features lasts milliseconds."""


@contextlib.contextmanager
def run_lock(run: RunFolder) -> Iterator[None]:
    """Hold a run for training; TrainingError where another process does."""
    run.checkpoints.mkdir(exist_ok=True)
    try:
        with FileLock(run.checkpoints / "lock", timeout=0):
            yield
    except Timeout as error:
        raise TrainingError(
            f"{run.path} is being trained by another process",
            hint="wait for it, or choose another folder with -o",
        ) from error


def resume_command(run: RunFolder, processes: int = 1) -> str:
    """Return the command that goes on with a run, in as many processes as before."""
    start = f"torchrun --nproc-per-node {processes} -m toolchain" if processes > 1 else "rtl"
    return f"{start} finetune --resume {shlex.quote(str(run.path))}"


class Checkpoints:
    """The checkpoints of a run."""

    def __init__(self, run: RunFolder) -> None:
        self.folder = run.checkpoints
        self.not_before = 0.0

    def due(self) -> bool:
        """Say whether writing one now keeps within MOST_OVERHEAD."""
        return time.monotonic() >= self.not_before

    def save(self, epoch: int, tensors: State, record: dict[str, Any]) -> None:
        """Write the checkpoint of an epoch and remove older ones."""
        started = time.monotonic()
        data = weights_bytes(tensors)
        _write(self._tensors(epoch), data)
        # Python's json, for it keeps infinities and every bit of a float.
        text = json.dumps({**record, "epoch": epoch, "sha256": hashlib.sha256(data).hexdigest()})
        _write(self._record(epoch), text.encode())
        for file in self.folder.glob("epoch-*"):
            if file not in (self._tensors(epoch), self._record(epoch)):
                file.unlink(missing_ok=True)
        spent = time.monotonic() - started
        self.not_before = time.monotonic() + spent / MOST_OVERHEAD

    def load(self) -> Checkpoint | None:
        """Return the newest whole checkpoint, None where there is none."""
        for file in sorted(self.folder.glob("epoch-*.json"), reverse=True):
            # What is cut off or gone is no checkpoint; the one before it may be.
            with contextlib.suppress(OSError, ValueError):
                record = json.loads(file.read_text(encoding="utf-8"))
                data = file.with_suffix(".safetensors").read_bytes()
                if hashlib.sha256(data).hexdigest() == record["sha256"]:
                    return load(data), record
        return None

    def save_start(self, frozen: State, origin: str) -> None:
        """Write the weights that training does not change, and the line about their origin."""
        _write(self.folder / "start.safetensors", weights_bytes(frozen))
        _write(self.folder / "start.json", json.dumps({"origin": origin}).encode())

    def load_start(self) -> tuple[State, str] | None:
        """Return those weights and that line; None where they are not both there."""
        try:
            origin = json.loads((self.folder / "start.json").read_bytes())["origin"]
            return load((self.folder / "start.safetensors").read_bytes()), origin
        except (OSError, ValueError, SafetensorError):
            return None

    def _tensors(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04}.safetensors"

    def _record(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04}.json"


def optimizer_state(optimizer: Optimizer) -> tuple[State, list[dict[str, Any]]]:
    """Return an optimiser's state as (tensors by name, parameter groups as plain values)."""
    state = optimizer.state_dict()
    tensors = {
        f"{index}.{key}": value
        for index, values in state["state"].items()
        for key, value in values.items()
        if isinstance(value, torch.Tensor)
    }
    return tensors, state["param_groups"]


def load_optimizer(optimizer: Optimizer, tensors: State, groups: list[dict[str, Any]]) -> None:
    """Put such a state back."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def random_state() -> tuple[State, dict[str, Any]]:
    """Return the state of every random generator as (tensors, plain values)."""
    tensors = {"cpu": torch.get_rng_state()}
    for index, state in enumerate(torch.cuda.get_rng_state_all()):
        tensors[f"cuda.{index}"] = state
    name, keys, *rest = np.random.get_state()
    tensors["numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
    return tensors, {"python": random.getstate(), "numpy": [name, *rest]}


def load_random_state(tensors: State, plain: dict[str, Any]) -> None:
    """Put every random generator back."""
    torch.set_rng_state(tensors["cpu"])
    for index in range(torch.cuda.device_count()):
        if f"cuda.{index}" in tensors:
            torch.cuda.set_rng_state(tensors[f"cuda.{index}"], index)
    name, *rest = plain["numpy"]
    np.random.set_state((name, tensors["numpy"].numpy().astype(np.uint32), *rest))
    version, internal, gauss = plain["python"]
    random.setstate((version, tuple(internal), gauss))


def _write(path: Path, data: bytes) -> None:
    """Write a file so that it is whole on disk before its name exists, also if the power goes."""
    with atomic_file(path, durable=True) as temporary:
        temporary.write_bytes(data)
