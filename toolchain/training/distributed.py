"""Data-parallel training: several processes, started by `--processes` or torchrun, or one.

    rtl finetune DATA --processes 2 …
    torchrun --nproc-per-node 2 -m toolchain finetune DATA …

`--batch-size` stays the number of images in one step: each process computes its part of the same
batch, and the gradients are averaged, so the result is that of a single process up to the order of
sums. The exception is BatchNorm in training mode. On CPUs its statistics are over the images of one
process; on GPUs SyncBatchNorm takes them over all processes.

Rank zero is the process that writes files and reports progress.
"""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from toolchain.errors import Interrupted, ToolchainError, TrainingError

Value = TypeVar("Value")

TIMEOUT = timedelta(hours=12)
"""Timeout of collective operations; long, because the other processes wait while rank zero computes
the frozen features."""

_JOINED: list[distributed.ProcessGroup | None] = []
"""The groups that this process has joined, kept until it ends. Deleting a gloo group joins its
thread, which may need the interpreter's lock to delete an operation of the backward pass. An error
whose frames held the last reference would delete the group with that lock held: a deadlock, in
which the other processes wait for ever (seen with torch 2.13)."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    """Rank among the processes of this machine, which is the index of this process's GPU."""

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is the one process that writes files and reports progress."""
        return self.rank == 0

    def from_rank_zero(self, value: Value) -> Value:
        """Return rank zero's value in every process."""
        if self.count == 1:
            return value
        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def run_on_rank_zero(self, function: Callable[[], Value]) -> Value:
        """Call a function in rank zero only and return its result in every process.

        An error of it that a user can act on is raised in every process.
        """
        if self.count == 1:
            return function()
        result: Any = None
        error: ToolchainError | None = None
        if self.is_rank_zero:
            try:
                result = function()
            except ToolchainError as raised:
                error = raised
        outcome: tuple[Value, ToolchainError | None] = self.from_rank_zero((result, error))
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def gather(self, value: Value) -> list[Value]:
        """Return the values of all processes, by rank, in every process."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values

    def sums(self, *values: float) -> list[float]:
        """Return the sum of each value over all processes."""
        return [sum(column) for column in zip(*self.gather(values), strict=True)]

    def broadcast(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite tensors in place by rank zero's."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model with gradients averaged over the processes; itself for a single one."""
        if self.count == 1:
            return model
        if device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        ids = [self.local_rank] if device.type == "cuda" else None
        # Of 1×1 convolutions, whose strides have two forms; it costs a copy and changes no result.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
        return nn.parallel.DistributedDataParallel(model, device_ids=ids)


def is_single_process() -> bool:
    """Return whether torchrun has started no other process beside this one."""
    return os.environ.get("WORLD_SIZE", "1") == "1"


@contextlib.contextmanager
def process_group() -> Iterator[Processes]:
    """Join the processes that torchrun started, for the length of the block."""
    if is_single_process():
        yield Processes()
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if backend == "nccl":
        # NCCL sends Python objects by the current device, which is the first GPU by default.
        torch.cuda.set_device(local_rank)
    distributed.init_process_group(backend, timeout=TIMEOUT)
    _JOINED.append(distributed.group.WORLD)
    try:
        yield Processes(
            rank=distributed.get_rank(),
            count=distributed.get_world_size(),
            local_rank=local_rank,
        )
    except Interrupted:
        raise  # each process is stopped, and rank zero says what is kept
    except Exception as error:
        hint = getattr(error, "hint", None)
        first = _first_error(error, hint)
        if first is None:
            raise
        exit_code, shown = first
        secondary = TrainingError(str(error), hint=None if hint == shown else hint)
        secondary.exit_code, secondary.reporter = exit_code, "another process"
        raise secondary from error
    finally:
        with contextlib.suppress(RuntimeError):  # the others are gone
            distributed.destroy_process_group()


def _first_error(error: Exception, hint: str | None) -> tuple[int, str | None] | None:
    """Return (exit code, hint) of the error that another process had before; None for the first.

    The processes share a small store, which torchrun keeps. Without it each error is a first one.
    """
    own = error.exit_code if isinstance(error, ToolchainError) else 1
    try:
        store = distributed.distributed_c10d._get_default_store()
        if store.add("rtl/errors", 1) == 1:
            if isinstance(error, ToolchainError):
                error.reporter = "this process"
            store.set("rtl/first error", json.dumps([own, hint]))
            return None
        code, shown = json.loads(store.get("rtl/first error"))
    except Exception:  # the store is gone with the process that kept it
        return None if isinstance(error, ToolchainError) else (own, None)
    return code, shown
