"""Where the JSON of a benchmark goes, and what happens where it can't be written."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.benchmarking.output import benchmark_file
from toolchain.errors import DataError
from toolchain.progress import SilentReporter


class Messages(SilentReporter):
    """Keeps the messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def message(self, text: str) -> None:
        self.lines.append(text)


def test_it_goes_to_the_run_unless_another_file_is_named(tmp_path: Path) -> None:
    assert benchmark_file([tmp_path], ["cpu"], None) == tmp_path / "bench" / "cpu.json"
    assert benchmark_file([tmp_path], ["cpu"], tmp_path / "b.json") == tmp_path / "b.json"
    assert benchmark_file([tmp_path / "model.onnx"], ["cpu"], None) is None


def test_a_run_that_cannot_be_written_is_measured_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "bench").write_text("a file in the place of the folder")
    said = Messages()
    assert benchmark_file([tmp_path], ["cpu"], None, said) is None
    assert "can't be written" in said.lines[0]
    assert "-o FILE keeps it" in said.lines[0]
    with pytest.raises(DataError, match="can't be written"):
        benchmark_file([tmp_path], ["cpu"], tmp_path / "bench" / "b.json", said)
