"""The names of providers: rtl's short ones and onnxruntime's, and what follows from a name."""

from __future__ import annotations

OPENVINO = "OpenVINOExecutionProvider"
"""onnxruntime's name of OpenVINO."""
FLOAT32, BFLOAT16 = "openvino", "openvino-bf16"
"""rtl's names of OpenVINO, by what it computes in. In bfloat16 every layer is rounded."""
SHORT_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    FLOAT32: OPENVINO,
    BFLOAT16: OPENVINO,
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
AUTO = "auto"
"""Asks for the fastest engine that is accepted; see `engines/choice.py`."""
MEASURED_PROVIDERS = (AUTO, BFLOAT16)
"""Names of providers that are measured before they are used."""


def short_name(name: str) -> str:
    """Return the short name of an onnxruntime provider; the name itself where it has none."""
    return {full: short for short, full in reversed(SHORT_NAMES.items())}.get(name, name)


def is_openvino(provider: str) -> bool:
    """Return whether a provider's name, of either kind, is one of OpenVINO."""
    return provider.lower() in (FLOAT32, BFLOAT16, OPENVINO.lower())


def is_cuda(provider: str) -> bool:
    """Return whether a provider's name, of either kind, is that of CUDA."""
    return provider.lower() in ("cuda", SHORT_NAMES["cuda"].lower())


def in_bfloat16(provider: str) -> bool:
    """Return whether a provider's name asks for OpenVINO in bfloat16."""
    return provider.lower() == BFLOAT16


def computes_on_processor(provider: str) -> bool:
    """Return whether a provider, given by either name, computes on the processor."""
    return provider.lower() in ("cpu", SHORT_NAMES["cpu"].lower()) or is_openvino(provider)
