"""Import torchvision where its compiled library does not load.

torchvision on PyPI is built for CUDA. Beside a CPU build of torch its library stays unloaded, and
the import stops at a fake kernel for an operator that the library would have declared. Models and
transforms need none of the operators, so declaring their schemas is enough.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from toolchain.errors import MissingExtraError

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []  # a torch.library.Library takes its operators with it when it is freed


def import_torchvision() -> ModuleType:
    """Return torchvision; MissingExtraError where it or torch is not installed."""
    try:
        import torch
    except ImportError as error:
        raise MissingExtraError("torch", "train") from error
    try:
        return _import()
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    _forget_half_import()
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    _declared.append(library)
    return _import()


def remedied() -> bool:
    """Say whether torchvision needed its operators declared; `rtl doctor` shows it."""
    return bool(_declared)


def _import() -> ModuleType:
    try:
        import torchvision.transforms.v2
    except ImportError as error:
        raise MissingExtraError("torchvision", "train") from error
    return torchvision  # type: ignore[no-any-return]


def _forget_half_import() -> None:
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]
