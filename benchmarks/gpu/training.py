"""One training in full, in one precision, layout and way: seconds per epoch and accuracy."""

from __future__ import annotations

import contextlib
import importlib
import json
import statistics
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import distributed, nn

from benchmarks.gpu.job import CannotRunError, Job, Rows
from benchmarks.gpu.log import MessageLog
from toolchain.runs.settings_file import read_settings
from toolchain.training.distributed import Processes
from toolchain.training.finetune import finetune

SETTINGS: dict[str, Any] = {
    "strategy": "full",
    "optimizer": "adamw",
    "lr_head": 1e-3,
    "lr_backbone": 1e-3,
    "weight_decay": 0.05,
    "schedule": "cosine",
    "warmup_epochs": 1,
    # Without augmentation the pixels are kept in memory, so that the device is measured and not
    # the processes that read images.
    "augment": "none",
}


def finetune_case(
    job: Job,
    *,
    case: str,
    settings: dict[str, Any] | None = None,
    data_parallel: bool = False,
    only_head_on_cpu: bool = False,
) -> Rows:
    """Train once and yield a row; with `data_parallel` as one process of torch's DDP would.

    With `only_head_on_cpu` a processor trains the classifier alone: compiling all layers takes it
    minutes, and so does bf16 where it has no instructions for that.
    """
    given = {
        **SETTINGS,
        **(settings or {}),
        "data": str(job.images_folder),
        "arch": job.arch,
        "weights": job.weights,
        "size": job.size,
        "epochs": job.epochs,
        "batch_size": job.batch_size,
        "workers": job.workers,
        "device": job.device,
    }
    if only_head_on_cpu and job.device == "cpu":
        given |= {"strategy": "head", "weights": str(job.finished_run())}
    if not job.images_folder.is_dir():
        raise CannotRunError("there are no images; the part `data` was to make them")
    group = group_of_one(job.device) if data_parallel else contextlib.nullcontext()
    with group:
        result = finetune(read_settings(None, given), job.run(case), progress=MessageLog())
    lines = map(json.loads, result.run.metrics.read_text(encoding="utf-8").splitlines())
    epochs = [float(line["seconds"]) for line in lines if "epoch" in line]
    row = {
        "case": case,
        "strategy": given["strategy"],
        "first_epoch_s": epochs[0],
        "epoch_s": round(statistics.median(epochs[1:] or epochs), 3),
        "epochs": len(epochs),
        "images": len(result.dataset.train) + len(result.dataset.val),
        "val_accuracy": result.summary.val_accuracy,
        "val_images": result.summary.val_images,
        "seconds": round(result.seconds, 2),
        "peak_gpu_mb": None,
    }
    if job.device == "cuda":
        row["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated() / 1e6)
    yield row


class OneOfOne(Processes):
    """A single process whose gradients go through DDP all the same."""

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model as each of several processes would wrap it."""
        return Processes(count=2).wrap(model, device)


@contextlib.contextmanager
def group_of_one(device: str) -> Iterator[None]:
    """Let a training in this block run in a process group of one, by NCCL on a GPU.

    rtl leaves DDP out for a single process, and NCCL takes no two processes on one GPU. So this is
    what one GPU can show of DDP: that it runs, and what it costs.
    """
    backend = "nccl" if device == "cuda" else "gloo"

    @contextlib.contextmanager
    def process_group() -> Iterator[Processes]:
        yield OneOfOne()

    store = distributed.HashStore()  # type: ignore[attr-defined]  # not in its list of names
    distributed.init_process_group(backend, store=store, rank=0, world_size=1)
    module = importlib.import_module("toolchain.training.finetune")
    try:
        with mock.patch.object(module, "process_group", process_group):
            yield
    finally:
        distributed.destroy_process_group()
