"""The torch device of a `--device` setting or of a `--provider`."""

from __future__ import annotations

import torch

from toolchain.errors import ProviderError, TrainingError


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device that `--device` names; `auto` is cuda if available, else mps, else cpu.

    `local_rank` is the index of the CUDA device. Raises TrainingError for a device that this torch
    does not have.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, there in available.items() if there)
    if not available[name]:
        there = ", ".join(device for device, there in available.items() if there)
        raise TrainingError(
            f"device '{name}' is not available; this torch has: {there}", hint="--device auto"
        )
    return torch.device(name, local_rank) if name == "cuda" else torch.device(name)


def torch_device(provider: str) -> str:
    """Return torch's name of the device that an onnxruntime provider computes on: cpu or cuda.

    Raises ProviderError for another provider, or where CUDA is not available.
    """
    device = provider.lower().removesuffix("executionprovider")
    if device == "cpu" or (device == "cuda" and torch.cuda.is_available()):
        return device
    there = "cpu, cuda" if torch.cuda.is_available() else "cpu"
    raise ProviderError(
        f"provider '{provider}' is not available to torch, which has: {there}",
        hint="--provider cpu",
    )
