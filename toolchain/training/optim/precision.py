"""The precision of training: fp32, or bf16 and fp16 by autocast; `auto` measures a step of each."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from toolchain.errors import TrainingError
from toolchain.progress import ProgressReporter
from toolchain.runs.settings import FinetuneSettings

Network = TypeVar("Network", bound=nn.Module)

PROBE_SECONDS = 0.5
"""Time in which `auto` measures all candidates together."""
PROBE_IMAGES = 8
"""Batch size of the measured steps."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class MixedPrecision:
    """The precision and memory layout in which a network is trained."""

    precision: str
    """fp32, bf16 or fp16."""
    channels_last: bool

    def __str__(self) -> str:
        return f"{self.precision}, channels last" if self.channels_last else self.precision

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory layout of the weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> torch.autocast:
        """Return the autocast context of the forward pass; it does nothing for fp32."""
        return torch.autocast(device.type, DTYPES[self.precision], enabled=self.precision != "fp32")

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Return the gradient scaler; enabled for fp16 only, whose range is small."""
        return torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")


def choose_precision(
    probe: Callable[[], tuple[nn.Module, torch.Tensor]],
    settings: FinetuneSettings,
    device: torch.device,
    progress: ProgressReporter,
) -> MixedPrecision:
    """Return the precision that the settings ask for; `auto` measures and takes the fastest.

    `probe` returns the module to be trained and a batch of its input; it is called for `auto` only.
    Both and the random generators stay as they are. Raises TrainingError for fp16 without a GPU.
    """
    if settings.precision == "fp16" and device.type != "cuda":
        raise TrainingError(
            f"--precision fp16 needs a GPU, and this runs on {device}",
            hint="--precision bf16, or auto to measure what is fastest here",
        )
    if settings.precision != "auto":
        return MixedPrecision(settings.precision, settings.channels_last)
    model, example = probe()
    candidates = [
        MixedPrecision("fp32", False),
        MixedPrecision("fp32", True),
        MixedPrecision("bf16", True),
    ]
    if device.type == "cuda":
        candidates.append(MixedPrecision("fp16", True))
    times = {
        c: _step_ms(model, example, c, device, PROBE_SECONDS / len(candidates)) for c in candidates
    }
    best = min(times, key=lambda candidate: times[candidate])
    measured = ", ".join(f"{candidate} {ms:.0f} ms" for candidate, ms in times.items())
    progress.message(f"precision: {best} (a step of {len(example)} images takes: {measured})")
    return best


def to_memory_format(model: Network, memory_format: torch.memory_format) -> Network:
    """Convert the weights of a model to a memory layout, in place, and return the model."""
    moved: Network = model.to(memory_format=memory_format)  # type: ignore[call-overload]
    return moved


def _step_ms(
    model: nn.Module,
    example: torch.Tensor,
    mixed_precision: MixedPrecision,
    device: torch.device,
    seconds: float,
) -> float:
    """Return the time of a training step in ms: the fastest of those that fit into `seconds`."""
    model = to_memory_format(copy.deepcopy(model), mixed_precision.memory_format)
    devices = [device] if device.type == "cuda" else []
    best = float("inf")
    with torch.random.fork_rng(devices=devices):
        ends = time.perf_counter() + seconds
        # The first step is a warm-up and is not counted.
        for step in range(100):
            started = time.perf_counter()
            with mixed_precision.autocast(device):
                loss = model(example).float().square().mean()
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            now = time.perf_counter()
            best = min(best, now - started) if step else best
            if step and now >= ends:
                break
    return best * 1000
