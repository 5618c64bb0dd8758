"""Data-parallel training: several processes started by torchrun, or one.

    torchrun --nproc-per-node 2 -m toolchain finetune DATA …

`--batch-size` stays the number of images in one step: each process computes its part of the same
batch, and the gradients are averaged, so that the result is that of a single process up to the
order of sums. (BatchNorm in training mode is the exception: it sees a process's own images, but on
GPUs, where its statistics are taken over all processes.)
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn

Value = TypeVar("Value")

LONGEST_WAIT = timedelta(hours=12)
"""The writer may compute the frozen features of a large data set while the others wait."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_rank_zero(self) -> bool:
        """True in the one process that writes and speaks."""
        return self.rank == 0

    def from_rank_zero(self, value: Value) -> Value:
        """Return every process the writer's value."""
        if self.count == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Value) -> list[Value]:
        """Return every process the values of all, by rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values

    def sums(self, *values: float) -> list[float]:
        """Return the sums over all processes."""
        return [sum(column) for column in zip(*self.gather(values), strict=True)]

    def align(self, tensors: Iterable[torch.Tensor]) -> None:
        """Overwrite tensors by the writer's."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model with gradients averaged over the processes."""
        if self.count == 1:
            return model
        if device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        ids = [self.local_rank] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=ids)


def is_alone() -> bool:
    """Say whether there are no other processes that train with this one."""
    return os.environ.get("WORLD_SIZE", "1") == "1"


@contextlib.contextmanager
def process_group() -> Iterator[Processes]:
    """Meet the other processes that torchrun started, for the length of the block."""
    if is_alone():
        yield Processes()
        return
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    try:
        yield Processes(
            rank=distributed.get_rank(),
            count=distributed.get_world_size(),
            local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        )
    finally:
        distributed.destroy_process_group()
