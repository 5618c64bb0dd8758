"""The arithmetic of training: fp32, or bf16 and fp16 by autocast; `auto` measures."""

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

PROBE_S = 0.5
"""Seconds that all the probe's candidates get together."""
PROBE_IMAGES = 8

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class MixedPrecision:
    """In what precision and memory layout a network is trained."""

    precision: str
    channels_last: bool

    def __str__(self) -> str:
        return f"{self.precision}, channels last" if self.channels_last else self.precision

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of the weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def autocast(self, device: torch.device) -> torch.autocast:
        """Return the context that the forward pass runs in."""
        return torch.autocast(device.type, DTYPES[self.precision], enabled=self.precision != "fp32")

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Return the scaler of the loss; it does something for fp16 alone, whose range is small."""
        return torch.amp.GradScaler(device.type, enabled=self.precision == "fp16")


def choose_precision(
    probe: Callable[[], tuple[nn.Module, torch.Tensor]],
    settings: FinetuneSettings,
    device: torch.device,
    progress: ProgressReporter,
) -> MixedPrecision:
    """Return the arithmetic that the settings ask for; `auto` takes the fastest on this machine.

    `probe` gives what will be trained and a batch of its input; it is asked only for `auto`. These
    and the random generators are left as they are. Raises TrainingError for fp16 without a GPU.
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
    times = {c: _step_ms(model, example, c, device, PROBE_S / len(candidates)) for c in candidates}
    best = min(times, key=lambda candidate: times[candidate])
    measured = ", ".join(f"{candidate} {ms:.0f} ms" for candidate, ms in times.items())
    progress.message(f"precision: {best} (a step of {len(example)} images takes: {measured})")
    return best


def laid_out(model: Network, memory_format: torch.memory_format) -> Network:
    """Return the model with its weights in this layout; they are changed in place."""
    moved: Network = model.to(memory_format=memory_format)  # type: ignore[call-overload]
    return moved


def _step_ms(
    model: nn.Module,
    example: torch.Tensor,
    mixed_precision: MixedPrecision,
    device: torch.device,
    seconds: float,
) -> float:
    """Return the fastest of the forward and backward passes that fit into so many seconds."""
    probe = laid_out(copy.deepcopy(model), mixed_precision.memory_format)
    devices = [device] if device.type == "cuda" else []
    best = float("inf")
    with torch.random.fork_rng(devices=devices):
        ends = time.perf_counter() + seconds
        # The first pass prepares kernels and is not counted.
        for turn in range(100):
            started = time.perf_counter()
            with mixed_precision.autocast(device):
                loss = probe(example).float().square().mean()
            loss.backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            now = time.perf_counter()
            best = min(best, now - started) if turn else best
            if turn and now >= ends:
                break
    return best * 1000
