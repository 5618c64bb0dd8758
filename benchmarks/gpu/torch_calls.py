"""The trained network in torch, eager and compiled, in float32 and in 16 bits.

Pixels lie on the device before a call and logits stay there, as with onnxruntime's I/O binding.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.gpu.job import Job, Rows
from benchmarks.gpu.timing import timed
from toolchain.networks.resnet import Classifier, normalised
from toolchain.runs.trained_run import TrainedRun
from toolchain.training.optim.precision import to_memory_format

DTYPES = {"cuda": ("fp16", torch.float16), "cpu": ("bf16", torch.bfloat16)}
"""The 16 bits that are measured on each device."""


class Reduced(nn.Module):
    """A classifier whose weights and layers are in 16 bits, channels last; logits are float32."""

    mean: Tensor
    std: Tensor

    def __init__(self, classifier: Classifier, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("mean", classifier.mean)
        self.register_buffer("std", classifier.std)
        network = copy.deepcopy(classifier.network).to(dtype)
        self.network = to_memory_format(network, torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits of pixels uint8 [batch, size, size, 3]."""
        inputs = normalised(pixels, self.mean, self.std).to(self.dtype)
        logits: Tensor = self.network(inputs).float()
        return logits


def time_torch(job: Job) -> Rows:
    """Yield a row for each engine and batch size, what takes longest to compile last."""
    classifier = TrainedRun.open(job.finished_run()).classifier.eval().to(job.device)
    short, dtype = DTYPES[job.device]
    reduced = Reduced(classifier, dtype).eval()
    # Compiled for each batch size: code for any size is slower.
    engines: list[tuple[str, Callable[[Tensor], Tensor]]] = [
        (f"torch eager fp32{tf32_words(job.device)}", classifier),
        (f"torch eager {short}, channels last", reduced),
        (f"torch compiled {short}, channels last", torch.compile(reduced, dynamic=False)),
        (f"torch compiled fp32{tf32_words(job.device)}", torch.compile(classifier, dynamic=False)),
    ]
    for engine, compute in engines:
        for batch in batch_sizes(engine, job):
            pixels = generated_pixels(batch, job.size).to(job.device)
            with torch.inference_mode():
                row = timed(
                    partial(compute, pixels),
                    seconds=job.seconds,
                    images=batch,
                    cuda=job.device == "cuda",
                )
                off_by = float((compute(pixels) - classifier(pixels)).abs().max())
            yield {"engine": engine, "batch": batch, **row, "off_by": off_by}


def batch_sizes(engine: str, job: Job) -> tuple[int, ...]:
    """Return the batch sizes of an engine; a processor takes long to compile for each."""
    compiles_slowly = "compiled" in engine and job.device == "cpu"
    return job.batch_sizes[:1] if compiles_slowly else job.batch_sizes


def tf32_words(device: str) -> str:
    """Return whether float32 convolutions may be rounded to TF32, for the name of an engine."""
    if device != "cuda":
        return ""
    return ", TF32" if torch.backends.cudnn.allow_tf32 else ", no TF32"


def generated_pixels(batch: int, size: int) -> Tensor:
    """Return the same random pixels each time, uint8 [batch, size, size, 3]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (batch, size, size, 3), dtype=torch.uint8, generator=generator)
