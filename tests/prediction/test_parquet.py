"""A Parquet file as a sink: it has all rows, or it does not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prediction.pictures import picture, tiny_model_file
from toolchain.errors import DataError
from toolchain.prediction.predict import predict
from toolchain.runtime.predictor import Predictor

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (the extra `ray`)")


def test_rows_have_a_column_for_each_key(tmp_path: Path) -> None:
    from toolchain.prediction.parquet import ParquetFile

    images = [picture(tmp_path / "red.png"), tmp_path / "gone.png"]
    path = tmp_path / "rows.parquet"
    assert predict(tiny_model_file(tmp_path), images, sink=ParquetFile(path, top=2)).failed == 1
    red, gone = pq.read_table(path).to_pylist()
    assert (red["file"], red["label"], len(red["top"])) == (str(images[0]), "across", 2)
    assert (gone["label"], gone["top"]) == (None, None)
    assert "gone.png: no such file" in gone["error"]
    with pytest.raises(DataError, match="exists; predictions are never written over"):
        predict(tmp_path / "tiny.onnx", images, sink=ParquetFile(path))


def test_parquet_file_that_could_not_be_completed_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolchain.prediction.parquet import ParquetFile

    def fail(file: ParquetFile) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(ParquetFile, "_write_group", fail)
    with Predictor(tiny_model_file(tmp_path)) as predictor:
        path = tmp_path / "rows.parquet"
        with pytest.raises(OSError, match="no space"), ParquetFile(path).open(predictor):
            pass
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.onnx"]
