"""What machine a figure was measured on, and with which versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import msgspec

from toolchain.runtime.cores import usable_cores

INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd", "i8mm")
PACKAGES = ("rtl-toolchain", "onnxruntime", "onnxruntime-gpu", "torch", "numpy", "pillow")


class Machine(msgspec.Struct, frozen=True):
    """The processor, the system and the versions."""

    processor: str
    cores: int
    """Cores that this process may use."""
    instructions: tuple[str, ...]
    memory_gb: float | None
    system: str
    python: str
    versions: dict[str, str]

    def __str__(self) -> str:
        memory = f", {self.memory_gb:.0f} GB" if self.memory_gb else ""
        return f"{self.processor}, {self.cores} cores{memory}, {self.system}, Python {self.python}"


def this_machine() -> Machine:
    """Describe the machine this runs on."""
    model, flags = _cpuinfo()
    return Machine(
        processor=model or platform.processor() or platform.machine(),
        cores=usable_cores(),
        instructions=tuple(name for name in INSTRUCTIONS if name in flags),
        memory_gb=_memory_gb(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions=installed_versions(),
    )


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that shape a figure."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpuinfo() -> tuple[str, set[str]]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "", set()
    fields = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    return fields.get("model name", ""), set(
        fields.get("flags", fields.get("Features", "")).split()
    )


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, OSError, ValueError):
        return None
