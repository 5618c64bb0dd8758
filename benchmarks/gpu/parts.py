"""The table of the parts, in the order in which they run.

The standard library alone is imported here; `job.py` says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DRAWING = ("numpy", "PIL")
RTL = ("numpy", "PIL", "msgspec", "platformdirs")
TRAINING = (*RTL, "torch", "torchvision", "safetensors", "filelock", "matplotlib", "torchmetrics")
EXPORT = (*TRAINING, "onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class Part:
    """One part: a function that yields rows, run in a process of its own."""

    name: str
    table: str
    """The table that its rows belong to; a key of `tables.COLUMNS`."""
    share: float
    """Its share of the time that is left, beside those of the parts after it."""
    function: str
    """`module:name` of a function that takes the job and the arguments, and yields rows."""
    arguments: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    """Modules without which it can't run."""
    uses_gpu: bool = False
    """Whether torch must see the GPU when the device is cuda."""
    not_on_cpu: str = ""
    """Why it can't run on a processor."""


def _training(name: str, share: float, not_on_cpu: str = "", **arguments: Any) -> Part:
    return Part(
        f"finetune {name}",
        "training",
        share,
        "benchmarks.gpu.training:finetune_case",
        {"case": name, **arguments},
        TRAINING,
        uses_gpu=True,
        not_on_cpu=not_on_cpu,
    )


def _verification(precision: str) -> Part:
    return Part(
        f"verify {precision}",
        "verification",
        90,
        "benchmarks.gpu.model_files:verify_file",
        {"precision": precision},
        EXPORT,
    )


PARTS = (
    Part("machine", "machine", 40, "benchmarks.gpu.hardware:describe_machine"),
    Part("data", "data", 40, "benchmarks.gpu.images:draw_images", needs=DRAWING),
    _training("fp32", 120),
    _training("bf16", 60, settings={"precision": "bf16"}, only_head_on_cpu=True),
    _training("fp16", 60, "training in fp16 needs a GPU", settings={"precision": "fp16"}),
    _training(
        "bf16 channels-last",
        60,
        settings={"precision": "bf16", "channels_last": True},
        only_head_on_cpu=True,
    ),
    _training(
        "bf16 channels-last compiled",
        120,
        settings={"precision": "bf16", "channels_last": True, "compile": True},
        only_head_on_cpu=True,
    ),
    _training("fp32 DDP", 60, data_parallel=True),
    Part(
        "export",
        "files",
        100,
        "benchmarks.gpu.model_files:export_files",
        needs=EXPORT,
        uses_gpu=True,
    ),
    Part(
        "bench onnxruntime",
        "inference",
        60,
        "benchmarks.gpu.onnxruntime_calls:time_onnxruntime",
        needs=(*RTL, "onnxruntime"),
    ),
    _verification("fp32"),
    _verification("fp16"),
    Part(
        "bench torch",
        "inference",
        90,
        "benchmarks.gpu.torch_calls:time_torch",
        needs=TRAINING,
        uses_gpu=True,
    ),
)
"""Shares are generous at the beginning: what a part leaves goes to those after it, and most parts
need the network of `finetune fp32`. torch's compiler takes longest, so it comes last."""
