"""`rtl doctor`: what is installed, what works, and known problems of an installation."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any, Literal

import msgspec

from toolchain.errors import MissingExtraError, ProviderError
from toolchain.extras import EXTRAS, import_extra
from toolchain.files import display_path
from toolchain.machine import installed_versions, this_machine
from toolchain.runtime.cores import cgroup_quota
from toolchain.runtime.engines import openvino
from toolchain.runtime.image.heif import reads_heif
from toolchain.runtime.onnxruntime_import import import_onnxruntime, telemetry_is_off
from toolchain.runtime.provider_names import SHORT_NAMES, short_name
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
        *_openvino(),
        _telemetry(),
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
    if openvino.REPLACEMENT in versions:
        return Check(
            "problem",
            "onnxruntime",
            f"{openvino.REPLACEMENT} is installed, which replaces the module onnxruntime",
            openvino.REPLACE_BACK,
        )
    engines = {"onnxruntime", "onnxruntime-gpu"} & versions.keys()
    if not engines:
        return _not_installed()
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
    except MissingExtraError as error:
        return _broken(error, f"{found}: ")
    return Check("ok", "onnxruntime", found)


def _not_installed() -> Check:
    """Return the problem of an onnxruntime that is not installed, or was and left a folder."""
    try:
        import_onnxruntime()
    except MissingExtraError as error:
        if error.reason is not None:
            return _broken(error)
    return Check(
        "problem",
        "onnxruntime",
        "not installed",
        'pip install "rtl-toolchain[cpu]" (or [gpu] with an NVIDIA GPU)',
    )


def _broken(error: MissingExtraError, version: str = "") -> Check:
    """Return the problem of a package that is installed and can't be imported."""
    return Check("problem", error.what, f"{version}{error}", error.hint or "")


def _providers() -> list[Check]:
    try:
        available: list[str] = import_onnxruntime().get_available_providers()
    except MissingExtraError:
        return []
    names = [short_name(name) for name in available]
    checks = [Check("ok", "providers", f"compiled in: {', '.join(names)}")]
    if _torch_sees_gpu() and SHORT_NAMES["cuda"] not in available:
        checks.append(
            Check(
                "note",
                "GPU",
                "torch sees a GPU, this onnxruntime can't use it",
                'a new environment with pip install "rtl-toolchain[gpu]"',
            )
        )
    return checks


def _openvino() -> list[Check]:
    """Return whether the OpenVINO plugin is installed and has a device for this processor."""
    if importlib.util.find_spec(openvino.MODULE) is None:
        found = "plugin not installed; --provider openvino needs it"
        return [Check("ok", "OpenVINO", found, 'pip install "rtl-toolchain[openvino]"')]
    try:
        device = openvino.require_openvino()
    except ProviderError as error:
        remedy = "" if error.hint == openvino.ON_THE_CPU else error.hint or ""
        return [Check("note", "OpenVINO", str(error), remedy)]
    except MissingExtraError as error:
        if error.what == "onnxruntime":  # `_engine` reports it
            return []
        return [Check("problem", "OpenVINO", str(error), error.hint or "")]
    version = installed_versions().get("onnxruntime-ep-openvino", "of an unknown version")
    arithmetic = "float32 and bfloat16" if openvino.computes_bfloat16(device) else "float32"
    return [Check("ok", "OpenVINO", f"plugin {version}, computes in {arithmetic}")]


def _torch_sees_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    try:
        return bool(import_extra("torch").cuda.is_available())
    except MissingExtraError:  # `_training` reports it
        return False


def _telemetry() -> Check:
    if telemetry_is_off():
        found = "onnxruntime's own is off: rtl sets ORT_DISABLE_TELEMETRY=1 before it is imported"
        return Check("ok", "telemetry", found)
    found = "onnxruntime's own is on, because ORT_DISABLE_TELEMETRY is set to nothing or 0"
    return Check("note", "telemetry", found, "unset ORT_DISABLE_TELEMETRY to turn it off")


def _training() -> list[Check]:
    # By the packages' names: torchvision can't be imported where torch can't.
    errors = {error.what: error for error in map(_import_error, EXTRAS["train"]) if error}
    absent = [name for name, error in errors.items() if error.reason is None]
    problems = [_broken(error) for error in errors.values() if error.reason is not None]
    if absent:
        note = Check(
            "note",
            "training",
            f"not installed: {', '.join(absent)}; predicting needs none of them",
            'pip install "rtl-toolchain[train]"',
        )
        return [note, *problems]
    return problems or _training_versions()


def _import_error(name: str) -> MissingExtraError | None:
    """Return why a package of the extra `train` can't be imported; None where it can."""
    if importlib.util.find_spec(name) is None:
        return MissingExtraError(name, "train")
    try:
        if name == "torchvision":
            _import_torchvision()
        else:
            import_extra(name)
    except MissingExtraError as error:
        return error
    except Exception as error:  # of torchvision, see `torchvision_import`
        return MissingExtraError(name, "train", str(error))
    return None


def _import_torchvision() -> Any:
    """Return torchvision, also where its library does not load; see `torchvision_import`."""
    from toolchain.networks.torchvision_import import import_torchvision

    return import_torchvision()


def _training_versions() -> list[Check]:
    """Return the versions of torch and torchvision, which can both be imported."""
    import torch

    from toolchain.networks.torchvision_import import operators_were_declared

    vision = _import_torchvision()
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
        try:
            import_extra("pillow_heif")
        except MissingExtraError as error:
            return Check("problem", "HEIC", str(error), error.hint or "")
        return Check("ok", "HEIC", "read by pillow-heif")
    found = "not read: files in it are left out, and counted"
    return Check("ok", "HEIC", found, 'pip install "rtl-toolchain[heif]"')


def _weights_cache() -> Check:
    try:
        if importlib.util.find_spec("torch") is None:
            return Check("ok", "ImageNet weights", "not needed without training")
        torch = import_extra("torch")
    except MissingExtraError:
        return Check("ok", "ImageNet weights", "not looked for: torch can't be imported")
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
