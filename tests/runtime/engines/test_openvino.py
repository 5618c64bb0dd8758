"""OpenVINO by its plugin: registered once, configured, refused in one line where it can't run."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.runtime.engines.plugin import FakeOnnxruntime, install
from tests.runtime.tiny import tiny_model, write
from toolchain import Predictor
from toolchain.errors import MissingExtraError, ProviderError
from toolchain.runtime import session
from toolchain.runtime.engines import openvino
from toolchain.runtime.provider_names import OPENVINO, short_name
from toolchain.runtime.session import open_session, provider_name


def no_device() -> str | None:
    """Return why OpenVINO can't be used here; None where it can."""
    if find_spec(openvino.MODULE) is None:
        return "the plugin onnxruntime-ep-openvino is not installed"
    try:
        openvino.require_openvino()
    except ProviderError as error:
        return str(error)
    return None


REASON = no_device()
with_plugin = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def test_the_device_is_that_of_the_processor_and_the_library_is_registered_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakeOnnxruntime()
    install(monkeypatch, fake)
    for _ in range(2):
        device = openvino.require_openvino()
        assert device.ep_name == OPENVINO
        assert device.ep_metadata["ov_device"] == "CPU"
        assert "ov_meta_device" not in device.ep_metadata
    assert fake.registered == [("rtl.openvino", "/there/libplugin.so")]


@pytest.mark.parametrize("name", ["openvino", "OpenVINO", "OpenVINOExecutionProvider"])
def test_any_of_its_names_registers_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeOnnxruntime()
    install(monkeypatch, fake)
    assert provider_name(name) == OPENVINO
    assert fake.registered
    assert short_name(OPENVINO) == "openvino"


@pytest.mark.parametrize("name", ["openvino", "openvino-bf16", "OpenVINOExecutionProvider"])
def test_an_absent_plugin_is_one_line_with_the_command(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, FakeOnnxruntime())
    monkeypatch.setitem(sys.modules, openvino.MODULE, None)
    with pytest.raises(MissingExtraError) as caught:
        provider_name(name)
    assert "onnxruntime-ep-openvino" in str(caught.value)
    assert caught.value.hint is not None
    assert '"rtl-toolchain[openvino]"' in caught.value.hint


def test_a_processor_that_the_plugin_does_not_serve_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, FakeOnnxruntime(vendor="AMD"))
    for _ in range(2):  # the library is registered, and still offers nothing
        with pytest.raises(ProviderError, match="no device for processors of AMD") as caught:
            openvino.require_openvino()
        assert caught.value.hint == "--provider cpu"


def test_a_library_that_does_not_load_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeOnnxruntime(failure="libtbb.so.12:\n cannot open\n" + "x" * 900))
    with pytest.raises(ProviderError, match="openvino failed to start: libtbb") as caught:
        openvino.require_openvino()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_an_onnxruntime_without_plugins_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, SimpleNamespace(__version__="1.20.1"))
    with pytest.raises(ProviderError, match=r"needs onnxruntime 1\.23 or newer, this is 1\.20\.1"):
        openvino.require_openvino()


def test_an_onnxruntime_that_replaces_the_stock_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The package onnxruntime-openvino has the provider compiled in, and no device of a plugin."""
    fake = FakeOnnxruntime()
    install(monkeypatch, fake)
    monkeypatch.setattr(fake, "get_available_providers", lambda: [OPENVINO], raising=False)
    with pytest.raises(ProviderError, match="onnxruntime-openvino") as caught:
        provider_name("openvino")
    assert "pip uninstall onnxruntime-openvino" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("offered", "flags", "accepted"),
    [
        ("FP32 BF16 INT8", {"avx512f", "amx_bf16"}, True),
        ("FP32 BF16 INT8", {"avx512f"}, False),  # OpenVINO would emulate it, four times slower
        ("FP32 INT8", {"avx512_bf16"}, False),
        ("FP32 BF16", None, True),
    ],
)
def test_bfloat16_is_for_processors_that_compute_in_it(
    offered: str, flags: set[str] | None, accepted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, FakeOnnxruntime(capabilities=offered))
    monkeypatch.setattr(openvino, "_processor_flags", lambda: flags)
    assert openvino.computes_bfloat16(openvino.require_openvino()) is accepted
    if accepted:
        assert openvino.require_openvino("openvino-bf16")
    else:
        with pytest.raises(ProviderError, match="no bfloat16"):
            openvino.require_openvino("openvino-bf16")


def test_threads_and_arithmetic_are_set_in_its_own_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, FakeOnnxruntime())
    given: list[Any] = []
    options = SimpleNamespace(add_provider_for_devices=lambda *values: given.append(values))
    openvino.add_openvino(options, "openvino", 3)
    (devices, named), *_ = given
    assert [device.ep_name for device in devices] == [OPENVINO]
    configured = json.loads(named["load_config"])["CPU"]
    assert configured["INFERENCE_NUM_THREADS"] == "3"
    # Without it OpenVINO computes in bfloat16 where the processor can.
    assert configured["INFERENCE_PRECISION_HINT"] == "f32"
    lower = json.loads(openvino.configuration("openvino-bf16", None))["CPU"]
    assert lower["INFERENCE_PRECISION_HINT"] == "bf16"
    assert int(lower["INFERENCE_NUM_THREADS"]) >= 1


def test_a_session_that_onnxruntime_gave_to_the_cpu_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for OpenVINO where its device is not added, onnxruntime opens its own provider."""
    path = write(tiny_model(), tmp_path / "model.onnx")
    monkeypatch.setattr(openvino, "require_openvino", lambda provider="openvino": None)
    monkeypatch.setattr(openvino, "add_openvino", lambda options, provider, threads: None)
    with pytest.raises(ProviderError) as caught:
        open_session(path, provider="openvino")
    assert "openvino" in str(caught.value)


def test_a_file_that_resizes_in_its_graph_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tiny_model("image"), tmp_path / "model.onnx")
    monkeypatch.setattr(openvino, "require_openvino", lambda provider="openvino": None)
    with pytest.raises(ProviderError, match="resizes otherwise") as caught:
        open_session(path, provider="openvino")
    assert "--input pixels" in str(caught.value.hint)


def test_a_failure_of_openvino_is_told_by_its_last_line() -> None:
    message = (
        "[ONNXRuntimeError] : 11 : EP_FAIL : Exception from src/inference/src/cpp/core.cpp:117:\n"
        "NotFound: Unsupported property NO_SUCH by CPU plugin.\n\n"
    )
    error = session._session_error(Path("model.onnx"), OPENVINO, message)
    assert str(error) == (
        "openvino failed to start: NotFound: Unsupported property NO_SUCH by CPU plugin."
    )


@with_plugin
@pytest.mark.parametrize("kind", ["pixels", "tensor"])
def test_it_computes_what_onnxruntime_computes(kind: Any, tmp_path: Path) -> None:
    path = write(tiny_model(kind), tmp_path / "model.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    with Predictor(path) as cpu, Predictor(path, provider="openvino", threads=1) as other:
        assert other.session.get_providers()[0] == OPENVINO
        settings = other.session.get_provider_options()[OPENVINO]["load_config"]
        assert json.loads(settings)["CPU"]["INFERENCE_NUM_THREADS"] == "1"
        for a, b in zip(cpu.run(pixels), other.run(pixels), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
