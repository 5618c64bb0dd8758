"""`rtl doctor`: what is installed, what works, and known problems of an installation."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Literal

import msgspec

from toolchain.errors import ToolchainError
from toolchain.extras import EXTRAS
from toolchain.files import display_path
from toolchain.machine import installed_versions, this_machine
from toolchain.runtime.cores import cgroup_quota
from toolchain.runtime.image.heif import reads_heif
from toolchain.runtime.session import SHORT_NAMES, import_onnxruntime, short_name
from toolchain.version import __version__


class Check(msgspec.Struct, frozen=True):
    """One thing that was checked."""

    state: Literal["ok", "note", "problem"]
    what: str
    found: str
    """What was found, for a person."""
    remedy: str = ""
    """What to do about it; empty where there is nothing to do."""


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """All checks, problems first, then notes. The fields are described in docs/json.md."""

    version: int = 1
    checks: list[Check]

    @property
    def problems(self) -> list[Check]:
        """The checks in state `problem`."""
        return [check for check in self.checks if check.state == "problem"]


def examine() -> DoctorReport:
    """Check this installation: machine, onnxruntime, providers, training packages, weights."""
    checks = [
        _machine(),
        _cores(),
        _engine(),
        *_providers(),
        *_training(),
        _heic(),
        _weights_cache(),
    ]
    order = ("problem", "note", "ok")
    return DoctorReport(checks=sorted(checks, key=lambda check: order.index(check.state)))


def _machine() -> Check:
    machine = this_machine()
    flags = ", ".join(machine.instructions) or "none that matter"
    return Check("ok", "machine", f"rtl {__version__} on {machine}; instructions: {flags}")


def _cores() -> Check:
    machine, host = this_machine(), os.cpu_count() or 1
    quota = cgroup_quota()
    if machine.cores < host:
        why = f"quota of {quota:g}" if quota else "affinity mask"
        found = f"{machine.cores} of {host} may be used ({why}); rtl starts that many threads"
        return Check("note", "cores", found)
    return Check("ok", "cores", f"{machine.cores}")


def _engine() -> Check:
    versions = installed_versions()
    engines = {"onnxruntime", "onnxruntime-gpu"} & versions.keys()
    if not engines:
        return Check(
            "problem",
            "onnxruntime",
            "not installed",
            'pip install "rtl-toolchain[cpu]" (or [gpu] with an NVIDIA GPU)',
        )
    if len(engines) == 2:
        return Check(
            "problem",
            "onnxruntime",
            "onnxruntime and onnxruntime-gpu are both installed and shadow each other",
            "pip uninstall onnxruntime onnxruntime-gpu, then install one of the two",
        )
    found = ", ".join(f"{name} {versions[name]}" for name in engines)
    try:
        import_onnxruntime()
    except ToolchainError as error:
        reason = f"{found} is installed and can't be imported: {error.__cause__}"
        return Check("problem", "onnxruntime", reason, "install it again")
    return Check("ok", "onnxruntime", found)


def _providers() -> list[Check]:
    try:
        available: list[str] = import_onnxruntime().get_available_providers()
    except ToolchainError:
        return []
    names = [short_name(name) for name in available]
    checks = [Check("ok", "providers", f"compiled in: {', '.join(names)}")]
    torch_sees_gpu = False
    if importlib.util.find_spec("torch"):
        import torch

        torch_sees_gpu = torch.cuda.is_available()
    if torch_sees_gpu and SHORT_NAMES["cuda"] not in available:
        checks.append(
            Check(
                "note",
                "GPU",
                "torch sees a GPU, this onnxruntime can't use it",
                'a new environment with pip install "rtl-toolchain[gpu]"',
            )
        )
    return checks


def _training() -> list[Check]:
    missing = [name for name in EXTRAS["train"] if importlib.util.find_spec(name) is None]
    if missing:
        return [
            Check(
                "note",
                "training",
                f"not installed: {', '.join(missing)}; predicting needs none of them",
                'pip install "rtl-toolchain[train]"',
            )
        ]
    import torch

    from toolchain.networks.torchvision_import import import_torchvision, operators_were_declared

    vision = import_torchvision()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    checks = [
        Check("ok", "training", f"torch {torch.__version__} on {device}"),
    ]
    if operators_were_declared():
        found = (
            f"torchvision {vision.__version__} is a CUDA build beside a CPU torch; its operators "
            "do not load, and rtl declares them itself. Models and transforms work"
        )
        checks.append(Check("note", "torchvision", found))
    else:
        checks.append(Check("ok", "torchvision", str(vision.__version__)))
    return checks


def _heic() -> Check:
    if reads_heif():
        return Check("ok", "HEIC", "read by pillow-heif")
    found = "not read: files in it are left out, and counted"
    return Check("ok", "HEIC", found, 'pip install "rtl-toolchain[heif]"')


def _weights_cache() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check("ok", "ImageNet weights", "not needed without training")
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    cached = sorted(file.name for file in folder.glob("*.pth"))
    if cached:
        return Check(
            "ok", "ImageNet weights", f"cached in {display_path(folder)}: {', '.join(cached)}"
        )
    return Check(
        "note",
        "ImageNet weights",
        f"none cached in {display_path(folder)}; they are downloaded when first needed",
    )
