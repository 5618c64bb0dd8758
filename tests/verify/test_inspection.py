from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.verify import tampering
from toolchain.errors import ModelFileError
from toolchain.verify.inspection import inspect_model
from toolchain.verify.verify import file_sha256


@pytest.fixture
def own(exported: Path, tmp_path: Path) -> Path:
    """An export folder of this test's own."""
    return shutil.copytree(exported, tmp_path / "export")


@pytest.mark.parametrize(
    ("name", "model_format"), [("model.onnx", "onnx"), ("model.torchscript.pt", "torchscript")]
)
def test_a_file_says_what_it_is(exported: Path, name: str, model_format: str) -> None:
    found = inspect_model(exported / name)
    assert found.model == str(exported / name)
    assert found.bytes == (exported / name).stat().st_size
    assert found.sha256 == file_sha256(exported / name)
    assert (found.card.format, found.card.classes) == (model_format, ("across", "aslant", "down"))
    assert found.card.metrics is not None
    assert found.references
    assert found.parity == "at export, 6 of 6 levels passed"


def test_a_file_without_company_says_so(model: Path, tmp_path: Path) -> None:
    found = inspect_model(Path(shutil.copy(model, tmp_path)))
    assert not found.references
    assert found.parity == "no report beside the file"


def test_report_of_another_file_is_not_taken_for_this_ones(own: Path) -> None:
    path = own / "model.onnx"
    tampering.tampered(path, path, tampering.one_weight)
    assert inspect_model(path).parity == "model.onnx.parity.json belongs to another file"


def test_damaged_report_is_said_and_stops_nothing(own: Path) -> None:
    (own / "model.onnx.parity.json").write_text('{"version": 1')
    assert inspect_model(own / "model.onnx").parity == "model.onnx.parity.json can't be read"


def test_model_without_a_card_is_not_ours(own: Path) -> None:
    def forget(content: object) -> None:
        del content.metadata_props[:]  # type: ignore[attr-defined]

    path = tampering.tampered(own / "model.onnx", own / "model.onnx", forget)
    with pytest.raises(ModelFileError, match="has no rtl card"):
        inspect_model(path)


def test_archive_of_something_else_is_not_ours(exported: Path) -> None:
    with pytest.raises(ModelFileError, match="has no rtl card"):
        inspect_model(exported / "model.onnx.references.npz")


def test_cut_off_torchscript_is_refused(exported: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.torchscript.pt"
    path.write_bytes((exported / "model.torchscript.pt").read_bytes()[:1_000_000])
    with pytest.raises(ModelFileError, match=r"model\.torchscript\.pt"):
        inspect_model(path)
