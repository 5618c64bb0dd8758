"""Which packages each extra of rtl installs, as pyproject.toml declares them, and their import."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from toolchain.errors import MissingExtraError

EXTRAS = {
    "cpu": ("onnxruntime",),
    "train": (
        "torch",
        "torchvision",
        "onnx",
        "onnxscript",
        "safetensors",
        "matplotlib",
        "torchmetrics",
        "filelock",
        "jinja2",
    ),
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
    "heif": ("pillow_heif",),
    "openvino": ("onnxruntime_ep_openvino",),
    "ray": ("ray", "pyarrow"),
    "loadgen": ("mlperf_loadgen",),
}
"""Extra → modules that are imported from its packages.

`gpu` brings the same module as `cpu`, which is the one to name where it is missing.
"""
EXTRA_OF = {module: extra for extra, modules in EXTRAS.items() for module in modules}
"""Module → the extra that brings it."""
REQUIRED = ("numpy", "PIL", "msgspec", "platformdirs", "rich")
"""Modules that rtl always installs; one of them can be broken too."""
_EXTRA_OR_NONE = {**EXTRA_OF, **dict.fromkeys(REQUIRED, "")}

PROBES = {
    "onnxruntime": "InferenceSession",
    "torch": "Tensor",
    "torchvision": "models",
    "onnx": "ModelProto",
    "matplotlib": "rcParams",
    "onnxruntime_ep_openvino": "get_library_path",
    "ray": "init",
    "pyarrow": "Table",
    "mlperf_loadgen": "StartTestWithLogSettings",
}
"""Module → a name that it has when all of it is there."""
MAX_REASON = 200


def import_extra(name: str, *, what: str | None = None) -> Any:
    """Return the module of an optional package.

    `what` is what a message calls it. Raises MissingExtraError, which tells apart a package that is
    not installed, one that can't be imported (a library that does not load), and the empty folder
    that an uninstall has left.
    """
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a package that is half there may raise anything
        raise _missing(name, error, what) from error
    reason = _hollow(name, module)
    if reason is not None:
        raise MissingExtraError(what or name, _EXTRA_OR_NONE[name], reason)
    return module


def missing_extra(error: Exception) -> MissingExtraError | None:
    """Return the error of the optional package whose import failed with `error`; None for others.

    An import may fail with an ImportError, or with an OSError or RuntimeError of a library that
    does not load. What an empty folder lacks is an AttributeError.
    """
    if isinstance(error, ImportError):
        name = _top(error.name)
        if name in _EXTRA_OR_NONE:
            return _missing(name, error, None)
    if isinstance(error, AttributeError) and isinstance(error.obj, ModuleType):
        name = _top(error.obj.__name__)
        reason = _hollow(name, error.obj) if name in _EXTRA_OR_NONE else None
        if reason is not None:
            return MissingExtraError(name, _EXTRA_OR_NONE[name], reason)
    importing = [name for name in _importing(error) if name in _EXTRA_OR_NONE]
    return _missing(importing[-1], error, None) if importing else None


def _missing(name: str, error: Exception, what: str | None) -> MissingExtraError:
    absent = isinstance(error, ModuleNotFoundError) and error.name == name
    module = sys.modules.get(name)
    hollow = None if absent or module is None else _hollow(name, module)
    reason = hollow or " ".join(str(error).split())[:MAX_REASON] or type(error).__name__
    return MissingExtraError(what or name, _EXTRA_OR_NONE[name], None if absent else reason)


def _hollow(name: str, module: ModuleType) -> str | None:
    """Return what is wrong with a module that is only the remains of a package; else None."""
    if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
        folder = next(iter(getattr(module, "__path__", [])), "?")
        return f"{folder} is a folder without the package, as an uninstall leaves it; remove it"
    if name in PROBES and not hasattr(module, PROBES[name]):
        return f"{module.__file__} has no {PROBES[name]}: parts of the package are missing"
    return None


def _importing(error: Exception) -> Iterator[str]:
    """Yield the packages whose modules were being imported when an error was raised."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "<module>":
            yield _top(trace.tb_frame.f_globals.get("__name__"))
        trace = trace.tb_next


def _top(module: str | None) -> str:
    return (module or "").partition(".")[0]
