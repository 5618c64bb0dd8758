"""A description of the machine and of the installed versions, stored with every measurement."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from pathlib import Path

import msgspec

from toolchain.display import counted
from toolchain.runtime.cores import usable_cores
from toolchain.version import __version__

INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd", "i8mm")
PACKAGES = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-ep-openvino",
    "mlcommons-loadgen",
    "torch",
    "numpy",
    "pillow",
)


class Machine(msgspec.Struct, frozen=True):
    """A processor, its system and the versions of the packages."""

    processor: str
    cores: int
    """Cores that this process may use."""
    instructions: tuple[str, ...]
    """Instruction sets that change how fast a network runs."""
    memory_gb: float | None
    system: str
    python: str
    versions: dict[str, str]

    def __str__(self) -> str:
        memory = f", {self.memory_gb:.0f} GB" if self.memory_gb else ""
        cores = f"{counted(self.cores, 'core')}{memory}"
        return f"{self.processor}, {cores}, {self.system}, Python {self.python}"


def this_machine() -> Machine:
    """Return the description of this machine."""
    model, flags = _cpuinfo()
    return Machine(
        processor=model or platform.processor() or platform.machine(),
        cores=usable_cores(),
        instructions=tuple(name for name in INSTRUCTION_SETS if name in flags),
        memory_gb=_memory_gb(),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        versions=installed_versions(),
    )


def installed_versions() -> dict[str, str]:
    """Return the versions of rtl and of the installed packages that affect a measurement."""
    # Not from the metadata, which in an editable installation is that of the day of installing.
    found = {"rtl-toolchain": __version__}
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


def memory_limit_bytes() -> int | None:
    """Return the memory that this process may use, a container's limit included; None unknown."""
    limits = [] if (memory := _memory_gb()) is None else [int(memory * 1e9)]
    for place in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            limits.append(int((Path("/sys/fs/cgroup") / place).read_text()))
    return min(limits, default=None)


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, OSError, ValueError):
        return None
