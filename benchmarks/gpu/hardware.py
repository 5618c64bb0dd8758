"""Machine, GPU, driver and versions that the figures were measured with."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
from typing import Any

from benchmarks.gpu.job import Job, Row, Rows

NVIDIA_SMI = ("name", "driver_version", "memory.total", "power.limit", "clocks.max.sm")


def describe_machine(job: Job) -> Rows:
    """Yield one row: processor and versions, what torch and onnxruntime see, and nvidia-smi."""
    yield {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "machine": machine(),
        "torch": torch_facts(),
        "onnxruntime": onnxruntime_facts(),
        "nvidia_smi": nvidia_smi(),
    }


def machine() -> Row | None:
    """Return the machine as every measurement of rtl states it; None without msgspec."""
    if importlib.util.find_spec("msgspec") is None:
        return None
    import msgspec

    from toolchain.machine import this_machine

    found: Row = msgspec.to_builtins(this_machine())
    return {**found, "text": str(this_machine())}


def torch_facts() -> Row | None:
    """Return torch's versions, the GPU that it sees, and whether it may round to TF32."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    facts: dict[str, Any] = {
        "version": str(torch.__version__),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
        "gpu": None,
    }
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        facts |= {
            "gpu": gpu.name,
            "capability": f"{gpu.major}.{gpu.minor}",
            "memory_gb": round(gpu.total_memory / 1e9, 1),
            "gpus": torch.cuda.device_count(),
        }
    return facts


def onnxruntime_facts() -> Row | None:
    """Return onnxruntime's version, its folder, and the providers that it was built with."""
    if importlib.util.find_spec("onnxruntime") is None:
        return None
    from toolchain.runtime.onnxruntime_import import import_onnxruntime

    onnxruntime = import_onnxruntime()
    return {
        "version": onnxruntime.__version__,
        "providers": onnxruntime.get_available_providers(),
        "plugins": plugins(onnxruntime),
    }


def plugins(onnxruntime: Any) -> list[str]:
    """Return the providers that onnxruntime has devices for, those of plugins too."""
    if not hasattr(onnxruntime, "get_ep_devices"):
        return []
    return sorted({str(device.ep_name) for device in onnxruntime.get_ep_devices()})


def nvidia_smi() -> Row | None:
    """Return what nvidia-smi says of the first GPU; None where it is not there or says nothing."""
    if shutil.which("nvidia-smi") is None:
        return None
    query = ["nvidia-smi", f"--query-gpu={','.join(NVIDIA_SMI)}", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return None
    return dict(zip(NVIDIA_SMI, (text.strip() for text in lines[0].split(",")), strict=False))
