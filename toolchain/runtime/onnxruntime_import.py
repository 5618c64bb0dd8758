"""Imports onnxruntime, with its telemetry off.

onnxruntime 1.31 looks up a host of its maker when it is imported, and writes a device id and a
database into the user's cache folder. It does neither with `ORT_DISABLE_TELEMETRY=1`, which is
read during the import.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any

from toolchain.extras import import_extra

TELEMETRY_SWITCH = "ORT_DISABLE_TELEMETRY"


def import_onnxruntime() -> Any:
    """Return the module onnxruntime.

    Its telemetry is off unless ORT_DISABLE_TELEMETRY is set, or it was imported before. The
    environment is left as it was. Raises MissingExtraError where it is not installed or can't be
    imported.
    """
    if "onnxruntime" in sys.modules or TELEMETRY_SWITCH in os.environ:
        return import_extra("onnxruntime")
    os.environ[TELEMETRY_SWITCH] = "1"
    try:
        return import_extra("onnxruntime")
    finally:
        os.environ.pop(TELEMETRY_SWITCH, None)


def load_cuda_libraries() -> None:
    """Load the CUDA libraries that pip has installed, which the system does not search for.

    torch with CUDA has loaded them where it was imported before. What onnxruntime prints of those
    it does not find is left out: they may lie where the system finds them, and if not, opening the
    session fails.
    """
    torch = sys.modules.get("torch")
    if torch is not None and torch.version.cuda is not None:
        return
    preload = getattr(import_onnxruntime(), "preload_dlls", None)  # onnxruntime 1.21 brought it
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()):
            preload()


def disable_telemetry() -> None:
    """Set ORT_DISABLE_TELEMETRY for this process and its children, unless the user has set it.

    For the command `rtl`, where other packages import onnxruntime too.
    """
    os.environ.setdefault(TELEMETRY_SWITCH, "1")


def telemetry_is_off() -> bool:
    """Return whether onnxruntime's telemetry is off when rtl imports it."""
    return os.environ.get(TELEMETRY_SWITCH, "1") not in ("", "0")
