"""Import torchvision, also where its compiled library does not load.

torchvision on PyPI is built for CUDA. With a CPU build of torch its library does not load, and the
import fails where it registers a fake kernel for an operator that the library would have declared.
Models and transforms use none of these operators, so declaring their schemas is enough.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from toolchain.errors import MissingExtraError
from toolchain.extras import import_extra, missing_extra

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[Any] = []  # kept, because a torch.library.Library removes its operators when freed


def import_torchvision() -> ModuleType:
    """Return the module torchvision; raise MissingExtraError where it or torch is not installed."""
    torch = import_extra("torch")
    try:
        return _import()
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    _remove_partial_import()
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    _declared.append(library)
    return _import()


def operators_were_declared() -> bool:
    """Return whether `import_torchvision` had to declare the operators; `rtl doctor` reports it."""
    return bool(_declared)


def _import() -> ModuleType:
    try:
        import torchvision.transforms.v2
    except ImportError as error:
        raise missing_extra(error) or MissingExtraError("torchvision", "train") from error
    return torchvision  # type: ignore[no-any-return]


def _remove_partial_import() -> None:
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]
