"""A file of rows: what it counts after an interruption."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.prediction.pictures import picture, tiny_model_file
from toolchain.prediction.rowfile import PredictionFile
from toolchain.prediction.rows import TextFormat
from toolchain.runtime.predictor import Predictor


@pytest.mark.parametrize("text_format", ["jsonl", "csv"])
def test_rows_are_counted_in_the_file_where_ctrl_c_came_before_the_count(
    tmp_path: Path, text_format: TextFormat
) -> None:
    path = tmp_path / "rows"
    with Predictor(tiny_model_file(tmp_path)) as predictor:
        prediction = predictor(picture(tmp_path / "red.png"))
        for number, resume in enumerate((False, True)):
            sink = PredictionFile(path, text_format, resume=resume)
            with sink.open(predictor):
                assert sink.count_rows() == 3 * number
                for name in ("1.png", "2,\nor 3.png", "4.png"):
                    sink.write(name, prediction)
                sink.written = 0
            assert sink.count_rows() == 3 * number + 3
    with path.open("a") as file:
        file.write('{"file": "cut')
    assert sink.count_rows() == 6
