"""`predict` from Python: inputs → rows in a sink, and a summary of what was done."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.prediction.pictures import LABELS, picture, tiny_model_file
from toolchain.errors import DataError, ImageError
from toolchain.prediction.predict import predict
from toolchain.prediction.rowfile import PredictionFile
from toolchain.prediction.rows import PredictionOrError
from toolchain.prediction.sinks import InMemory, TextStream
from toolchain.runtime.predictor import Predictor


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_model_file(tmp_path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A picture of each label in their order, and a file that is none before the last."""
    for number in range(3):
        picture(tmp_path / "photos" / f"{number}.png", number)
    (tmp_path / "photos" / "1 bad.png").write_text("no image")
    return tmp_path / "photos"


def labels(rows: list[tuple[str, PredictionOrError]]) -> list[str | None]:
    return [None if isinstance(result, ImageError) else result.label for _, result in rows]


def test_rows_are_kept_in_memory_with_the_error_in_its_place(model: Path, photos: Path) -> None:
    sink = InMemory()
    summary = predict(model, photos, sink=sink)
    names = ("0.png", "1 bad.png", "1.png", "2.png")
    assert [name for name, _ in sink.rows] == [str(photos / name) for name in names]
    assert labels(sink.rows) == ["across", None, "aslant", "down"]
    assert (summary.images, summary.added, summary.already_there, summary.failed) == (4, 4, 0, 1)
    assert summary.failures == [sink.rows[1][1]]
    assert "1 bad.png: text, not an image" in str(summary.failures[0])
    assert summary.seconds > 0


def test_open_predictor_is_used_and_stays_open(model: Path, photos: Path) -> None:
    with Predictor(model) as predictor:
        for _ in range(2):
            sink = InMemory()
            predict(predictor, [photos / "2.png", str(photos / "0.png")], sink=sink, workers=1)
            assert labels(sink.rows) == ["down", "across"]
        assert predictor(photos / "1.png").label == "aslant"


def test_folder_without_images_is_reported_and_has_no_row(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    sink = InMemory()
    summary = predict(model, [tmp_path / "empty", photos / "0.png"], sink=sink)
    assert labels(sink.rows) == ["across"]
    assert [str(error) for error in summary.not_found] == [
        f"{tmp_path / 'empty'}: no images in this folder"
    ]
    assert (summary.images, summary.failed, summary.failures) == (1, 0, [])


def test_first_ten_failures_are_kept_and_all_are_counted(model: Path, tmp_path: Path) -> None:
    sink = InMemory()
    summary = predict(model, [tmp_path / f"{number}.png" for number in range(12)], sink=sink)
    assert (summary.images, summary.failed) == (12, 12)
    assert summary.failures == [result for _, result in sink.rows[:10]]


def test_on_error_fail_raises_the_first_error_after_the_rows_before_it(
    model: Path, photos: Path
) -> None:
    sink = InMemory()
    with pytest.raises(ImageError, match=r"1 bad\.png"):
        predict(model, photos, sink=sink, on_error="fail")
    assert labels(sink.rows) == ["across"]


def test_lists_of_paths_are_read(model: Path, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{photos / '2.png'}\n{photos / '1.png'}\n")
    sink = InMemory()
    predict(model, [], files_from=[tmp_path / "list.txt"], sink=sink)
    assert labels(sink.rows) == ["down", "aslant"]
    with pytest.raises(DataError, match="no such file"):
        predict(model, [], files_from=[tmp_path / "gone.txt"], sink=InMemory())


@pytest.mark.parametrize("text_format", ["jsonl", "csv"])
def test_resumed_file_counts_the_rows_that_were_there(
    model: Path, photos: Path, tmp_path: Path, text_format: str
) -> None:
    path = tmp_path / f"rows.{text_format}"

    def sink(resume: bool) -> PredictionFile:
        return PredictionFile(path, text_format, top=2, resume=resume)  # type: ignore[arg-type]

    predict(model, [photos / "0.png", photos / "1 bad.png"], sink=sink(False))
    before = path.read_bytes()
    summary = predict(model, photos, sink=sink(True))
    assert path.read_bytes().startswith(before)
    assert (summary.images, summary.already_there, summary.added) == (4, 2, 2)
    # The file has only the text of the error, so it is counted and not listed.
    assert (summary.failed, summary.failures) == (1, [])
    with pytest.raises(DataError, match="exists; predictions are never written over"):
        predict(model, photos, sink=sink(False))


def test_stream_gets_the_rows_and_stays_open(model: Path, photos: Path) -> None:
    stream = io.BytesIO()
    predict(model, photos, sink=TextStream(stream, top=3))
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [row.get("label") for row in rows] == ["across", None, "aslant", "down"]
    assert len(rows[0]["top"]) == len(LABELS)


@pytest.mark.parametrize("on_terminal", [True, False])
def test_csv_on_a_terminal_has_no_control_characters_and_in_a_pipe_the_exact_name(
    model: Path, tmp_path: Path, on_terminal: bool
) -> None:
    class Screen(io.BytesIO):
        def isatty(self) -> bool:
            return on_terminal

    odd = tmp_path / "a\x1b[2J.jpg"
    odd.touch()
    stream = Screen()
    predict(model, [odd], sink=TextStream(stream, "csv"))
    assert (b"\x1b" in stream.getvalue()) is not on_terminal


def test_progress_counts_every_new_image_and_can_ask_for_their_number(
    model: Path, photos: Path, tmp_path: Path
) -> None:
    class Counter:
        total: int | None = None
        done = 0

        @contextmanager
        def counting(self, count_images: Callable[[], int | None]) -> Iterator[None]:
            self.total = count_images()
            yield

        def advance(self) -> None:
            self.done += 1

    path, counter = tmp_path / "rows.jsonl", Counter()
    predict(model, photos / "0.png", sink=PredictionFile(path))
    predict(model, photos, sink=PredictionFile(path, resume=True), progress=counter)
    assert (counter.total, counter.done) == (3, 3)
