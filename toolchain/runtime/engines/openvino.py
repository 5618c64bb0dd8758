"""OpenVINO, by the plugin that lies beside the stock onnxruntime (`onnxruntime-ep-openvino`).

onnxruntime has to be given the plugin's library before it knows the provider; asked for it by name
alone it warns and computes on its own CPU provider. The threads are set in OpenVINO's own
configuration, because the provider passes over the option `num_of_threads`.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import msgspec

from toolchain.errors import ProviderError
from toolchain.extras import import_extra
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.onnxruntime_import import import_onnxruntime
from toolchain.runtime.provider_names import FLOAT32, OPENVINO, in_bfloat16

MODULE = "onnxruntime_ep_openvino"
PLUGIN = "the OpenVINO plugin onnxruntime-ep-openvino"
REPLACEMENT = "onnxruntime-openvino"
"""A package with an onnxruntime of its own, whose provider gives the CPU's without an error."""
REPLACE_BACK = (
    f'pip uninstall {REPLACEMENT}; pip install --force-reinstall "rtl-toolchain[cpu,openvino]"'
)
LIBRARY = "rtl.openvino"
"""The name under which rtl registers the plugin's library."""
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "avx_ne_convert"}
"""Flags of /proc/cpuinfo of processors that compute in bfloat16. OpenVINO takes it on others with
AVX-512 too, where it is four times slower."""
ON_THE_CPU = "--provider cpu"

_registering = threading.Lock()
_registered: set[str] = set()
"""The libraries that this process has registered; a second time would be an error."""


def require_openvino(provider: str = FLOAT32) -> Any:
    """Return onnxruntime's device of OpenVINO for this processor; the plugin is registered first.

    Raises MissingExtraError where the plugin is not installed or can't be imported, and
    ProviderError where it does not start, has no device for this processor, or `provider` asks for
    bfloat16 on a processor without it.
    """
    ort = import_onnxruntime()
    if not hasattr(ort, "register_execution_provider_library"):
        raise ProviderError(
            f"openvino needs onnxruntime 1.23 or newer, this is {ort.__version__}",
            hint='pip install --upgrade "rtl-toolchain[cpu,openvino]"',
        )
    if OPENVINO in ort.get_available_providers() and _device(ort) is None:
        raise ProviderError(
            f"this onnxruntime is {REPLACEMENT}; rtl takes OpenVINO from its plugin",
            hint=REPLACE_BACK,
        )
    with _registering:  # another thread may be registering it
        found = _device(ort)
        if found is None:
            _register(ort)
            found = _device(ort)
    if found is None:
        raise ProviderError(
            f"OpenVINO's plugin has no device for processors of {_vendor(ort)}, only of Intel",
            hint=ON_THE_CPU,
        )
    if in_bfloat16(provider) and not computes_bfloat16(found):
        raise ProviderError("this processor has no bfloat16", hint="--provider openvino")
    return found


def add_openvino(options: Any, provider: str, threads: int | None) -> None:
    """Add OpenVINO to the options of a session, with its threads and its arithmetic.

    Raises what `require_openvino` raises.
    """
    device = require_openvino(provider)
    options.add_provider_for_devices([device], {"load_config": configuration(provider, threads)})


def configuration(provider: str, threads: int | None) -> str:
    """Return OpenVINO's own configuration, as JSON; `threads` are by default the usable cores.

    The precision is named, because OpenVINO computes in bfloat16 by itself where the processor can.
    Its threads are not bound to cores: those of several processes would share the same ones.
    """
    return msgspec.json.encode(
        {
            "CPU": {
                "INFERENCE_NUM_THREADS": str(threads or usable_cores()),
                "INFERENCE_PRECISION_HINT": "bf16" if in_bfloat16(provider) else "f32",
                "ENABLE_CPU_PINNING": "NO",
            }
        }
    ).decode()


def computes_bfloat16(device: Any) -> bool:
    """Return whether OpenVINO and the processor compute in bfloat16.

    Where the processor's flags are not known, what OpenVINO says of its device decides.
    """
    offered = "BF16" in device.ep_metadata.get("OPTIMIZATION_CAPABILITIES", "").split()
    flags = _processor_flags()
    return offered and (flags is None or bool(flags & BFLOAT16_FLAGS))


def require_computable(input_kind: str, path: Path) -> None:
    """Raise ProviderError for a file whose graph OpenVINO computes otherwise than onnxruntime.

    With the input `image` the graph resizes. OpenVINO's antialias differs from onnxruntime's:
    logits were off by 0.7 for a photograph that is made smaller, by 6 for a fine pattern.
    """
    if input_kind == "image":
        raise ProviderError(
            f"openvino resizes otherwise than {path} needs, whose input is `image`",
            hint="rtl export RUN --input pixels makes a file for it; or --provider cpu",
        )


def _register(ort: Any) -> None:
    """Register the plugin's library with onnxruntime, once in a process."""
    if LIBRARY in _registered:
        return
    plugin = import_extra(MODULE, what=PLUGIN)
    try:
        ort.register_execution_provider_library(LIBRARY, plugin.get_library_path())
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise ProviderError(
            f"openvino failed to start: {' '.join(str(error).split())[:200]}",
            hint='pip install --force-reinstall "rtl-toolchain[cpu,openvino]"',
        ) from error
    _registered.add(LIBRARY)


def _device(ort: Any) -> Any | None:
    """Return onnxruntime's device of OpenVINO on this processor; None where there is none."""
    for device in ort.get_ep_devices():
        of_cpu = device.ep_metadata.get("ov_device") == "CPU"
        if device.ep_name == OPENVINO and of_cpu and "ov_meta_device" not in device.ep_metadata:
            return device
    return None


def _vendor(ort: Any) -> str:
    """Return the vendor of the processor, as onnxruntime knows it."""
    for device in ort.get_ep_devices():
        if device.ep_name == "CPUExecutionProvider":
            return str(device.device.vendor) or "another vendor"
    return "another vendor"


def _processor_flags() -> set[str] | None:
    """Return the instruction sets of the first processor; None where they are not known."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open("rb") as file:
        for line in file.read(1 << 14).decode(errors="replace").splitlines():
            if line.startswith("flags"):
                return set(line.partition(":")[2].split())
    return None
