"""Opening a model file: on exactly the provider asked for, or an error of one readable line."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from toolchain.errors import ModelFileError, ProviderError, ToolchainError
from toolchain.runtime.card import CARD_KEY
from toolchain.runtime.session import open_session, provider_name, session_card

AZURE = "AzureExecutionProvider"


def foreign_model(path: Path, card: str | None = None) -> Path:
    """Write an ONNX file that adds one to four numbers and was not exported by rtl."""
    ones = numpy_helper.from_array(np.ones(4, dtype=np.float32), "ones")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "ones"], ["y"])],
        "plus_one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [ones],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if card is not None:
        helper.set_model_props(model, {CARD_KEY: card})
    onnx.save(model, path)
    return path


def assert_one_readable_line(error: ToolchainError, path: Path) -> None:
    message = str(error)
    assert str(path) in message
    assert "\n" not in message
    assert "[ONNXRuntimeError]" not in message
    assert "onnxruntime/core" not in message, "a line of onnxruntime's source code"
    assert error.hint is None or "\n" not in error.hint


@pytest.mark.parametrize("name", ["cpu", "CPU", "CPUExecutionProvider", "cpuexecutionprovider"])
def test_provider_is_named_by_its_short_or_full_name(name: str) -> None:
    assert provider_name(name) == "CPUExecutionProvider"


@pytest.mark.parametrize("name", ["cuda", "TensorrtExecutionProvider", "abacus", ""])
def test_error_of_a_missing_provider_lists_the_available_ones(name: str) -> None:
    if (
        name in ("cuda", "TensorrtExecutionProvider")
        and len(onnxruntime.get_available_providers()) > 2
    ):
        pytest.skip("this onnxruntime has it")
    with pytest.raises(ProviderError) as caught:
        provider_name(name)
    assert f"'{name}'" in str(caught.value)
    assert "this onnxruntime has: " in str(caught.value)
    assert "cpu" in str(caught.value)
    assert caught.value.hint


def test_hint_for_a_missing_provider_names_an_available_one() -> None:
    with pytest.raises(ProviderError) as caught:
        provider_name("abacus")
    hinted = str(caught.value.hint).removeprefix("--provider ")
    assert hinted == "cpu"


def test_hint_for_missing_cuda_is_the_command_that_installs_it() -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(ProviderError) as caught:
        provider_name("cuda")
    assert 'pip install "rtl-toolchain[gpu]"' in str(caught.value.hint)


def test_provider_is_checked_before_the_file(tmp_path: Path) -> None:
    with pytest.raises(ProviderError):
        open_session(tmp_path / "gone.onnx", provider="abacus")


@pytest.mark.skipif(
    AZURE not in onnxruntime.get_available_providers(), reason="this onnxruntime has no Azure"
)
def test_provider_whose_layers_would_fall_back_to_the_cpu_is_refused(tmp_path: Path) -> None:
    path = foreign_model(tmp_path / "plus.onnx")
    assert open_session(path).get_providers() == ["CPUExecutionProvider"]
    with pytest.raises(ProviderError) as caught:
        open_session(path, provider=AZURE)
    assert_one_readable_line(caught.value, path)
    assert "CPU" in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_model_is_a_model_file_error(share: float, tmp_path: Path) -> None:
    data = foreign_model(tmp_path / "plus.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelFileError) as caught:
        open_session(path)
    assert_one_readable_line(caught.value, path)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello, I am no model", b"PK\x03\x04" + bytes(200), bytes(64), b"<!doctype html>"],
    ids=["empty", "text", "zip", "zeros", "web page"],
)
def test_other_content_than_onnx_is_a_model_file_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        open_session(path)
    assert_one_readable_line(caught.value, path)
    assert str(caught.value).partition("can't be opened: ")[2], "a reason"
    assert "no ONNX file" in str(caught.value.hint)


def test_torchscript_file_is_not_an_onnx_file(tmp_path: Path) -> None:
    path = tmp_path / "model.torchscript.pt"
    path.write_bytes(b"PK\x03\x04" + bytes(200))
    with pytest.raises(ModelFileError, match="not an ONNX file") as caught:
        open_session(path)
    assert_one_readable_line(caught.value, path)


def test_a_whole_torch_file_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/version", "1")
    with pytest.raises(ModelFileError, match="is not an ONNX file") as whole:
        open_session(path)
    assert whole.value.hint == "the predictor opens what --format onnx writes"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ModelFileError) as cut:
        open_session(path)
    assert "truncated or damaged" in str(cut.value.hint)


def test_weights_in_a_second_file_are_refused_although_it_exists(tmp_path: Path) -> None:
    path = foreign_model(tmp_path / "plus.onnx")
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").stat().st_size == 16
    with pytest.raises(ModelFileError, match="the weight 'ones' lies in another file") as caught:
        open_session(path)
    assert_one_readable_line(caught.value, path)
    assert "no file of rtl" in str(caught.value.hint)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such file") as caught:
        open_session(tmp_path / "gone.onnx")
    assert_one_readable_line(caught.value, tmp_path / "gone.onnx")


def test_hint_for_a_run_folder_is_the_command_that_exports_it(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is a folder") as caught:
        open_session(tmp_path)
    assert caught.value.hint == "give the model.onnx that rtl export made"
    (tmp_path / "card.json").touch()
    with pytest.raises(ModelFileError, match="is a run folder") as caught:
        open_session(tmp_path)
    assert str(caught.value.hint).startswith(f"rtl export {tmp_path} --format onnx makes one")


def test_foreign_model_opens_but_has_no_card(tmp_path: Path) -> None:
    path = foreign_model(tmp_path / "plus.onnx")
    session = open_session(path)
    with pytest.raises(ModelFileError, match="no rtl card") as caught:
        session_card(session, path)
    assert_one_readable_line(caught.value, path)


def test_garbage_in_place_of_the_card_is_a_model_file_error(tmp_path: Path) -> None:
    path = foreign_model(tmp_path / "plus.onnx", card="{half a card")
    with pytest.raises(ModelFileError) as caught:
        session_card(open_session(path), path)
    assert_one_readable_line(caught.value, path)


def test_session_has_the_number_of_threads_asked_for(tmp_path: Path) -> None:
    session = open_session(foreign_model(tmp_path / "plus.onnx"), threads=3)
    assert session.get_session_options().intra_op_num_threads == 3


@pytest.mark.skipif(
    AZURE not in onnxruntime.get_available_providers(), reason="this onnxruntime has no Azure"
)
def test_failed_opening_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = foreign_model(tmp_path / "plus.onnx")
    with pytest.raises(ProviderError):
        open_session(path, provider=AZURE)  # onnxruntime by itself logs this on standard error
    assert capfd.readouterr() == ("", "")
