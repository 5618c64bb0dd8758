"""A stand-in for the OpenVINO plugin, and for what onnxruntime says of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from toolchain.runtime.engines import openvino
from toolchain.runtime.provider_names import OPENVINO


@dataclass
class FakeOnnxruntime:
    """An onnxruntime that knows the plugin's devices once its library is registered."""

    vendor: str = "GenuineIntel"
    capabilities: str = "FP32 INT8 BIN"
    failure: str | None = None
    __version__: str = "1.31.1"
    registered: list[tuple[str, str]] = field(default_factory=list)

    def register_execution_provider_library(self, name: str, path: str) -> None:
        if self.failure is not None:
            raise RuntimeError(self.failure)
        self.registered.append((name, path))

    def get_available_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def get_ep_devices(self) -> list[Any]:
        cpu = _device("CPUExecutionProvider", {}, self.vendor)
        if not self.registered or self.vendor != "GenuineIntel":
            return [cpu]
        metadata = {"ov_device": "CPU", "OPTIMIZATION_CAPABILITIES": self.capabilities}
        automatic = {**metadata, "ov_meta_device": "AUTO"}
        return [
            cpu,
            _device(f"{OPENVINO}.AUTO", automatic, self.vendor),
            _device(OPENVINO, {"ov_device": "GPU"}, self.vendor),
            _device(OPENVINO, metadata, self.vendor),
        ]


def _device(name: str, metadata: dict[str, str], vendor: str) -> Any:
    hardware = SimpleNamespace(vendor=vendor)
    return SimpleNamespace(ep_name=name, ep_metadata=metadata, device=hardware)


def install(monkeypatch: pytest.MonkeyPatch, fake: Any) -> None:
    """Put the stand-ins where rtl finds the plugin and onnxruntime."""
    module = ModuleType(openvino.MODULE)
    module.__file__ = "plugin.py"
    module.get_library_path = lambda: "/there/libplugin.so"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, openvino.MODULE, module)
    monkeypatch.setattr(openvino, "import_onnxruntime", lambda: fake)
    monkeypatch.setattr(openvino, "_registered", set())
