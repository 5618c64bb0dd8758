"""Where torch computes: the device that a setting or a provider names, or an error."""

from __future__ import annotations

import torch

from toolchain.errors import ProviderError, TrainingError


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device; auto takes cuda, else mps, else cpu. TrainingError where it is missing."""
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
    """Return torch's device for a provider; ProviderError where torch has none or it is missing."""
    device = provider.lower().removesuffix("executionprovider")
    if device == "cpu" or (device == "cuda" and torch.cuda.is_available()):
        return device
    there = "cpu, cuda" if torch.cuda.is_available() else "cpu"
    raise ProviderError(
        f"provider '{provider}' is not available to torch, which has: {there}",
        hint="--provider cpu",
    )
