"""`rtl predict`: what it prints on a terminal and in a pipe, and its exit status."""

from __future__ import annotations

import csv
import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.cli.predicting import Predict, read_rows
from tests.conftest import Rtl
from tests.prediction.pictures import LABELS, picture, tiny_model_file
from toolchain.cli.prediction_progress import TerminalProgress


def put_on_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A folder with a picture of each label, in their order."""
    for number in range(3):
        picture(tmp_path / "three" / f"{number}.png", number)
    return Path("three")


def test_json_line_for_each_file_and_an_error_for_a_bad_one(
    predict: Predict, three: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    good, bad = predict("three/1.png", "bad.jpg").rows
    assert set(good) == {"file", "label", "probability", "top"}
    assert (good["file"], good["label"]) == ("three/1.png", "aslant")
    assert good["top"] == [{k: good[k] for k in ("label", "probability")}]
    assert set(bad) == {"file", "error", "accepted"}


def test_csv_keeps_its_columns(predict: Predict, three: Path, tmp_path: Path) -> None:
    (tmp_path / "bad,\r\nbad.jpg").write_text("no image")
    done = predict(three, "bad,\r\nbad.jpg", "--format", "csv", "--top", "5")
    rows = list(csv.reader(io.StringIO(done.out.decode(), newline="")))
    assert {len(row) for row in rows} == {12}
    assert [row[0] for row in rows] == [
        "file", *(f"three/{number}.png" for number in range(3)), "bad,\r\nbad.jpg",
    ]  # fmt: skip
    assert [row[1] for row in rows[1:4]] == list(LABELS)
    assert "text, not an image" in rows[4][-1]


def test_rejected_is_printed_where_the_card_has_a_threshold(
    predict: Predict, three: Path, tmp_path: Path
) -> None:
    (tmp_path / "strict").mkdir()
    strict = tiny_model_file(tmp_path / "strict", threshold=0.999)
    assert all("rejected" not in row for row in predict(three).rows)
    assert [row["rejected"] for row in predict(three, model=strict).rows] == [True] * 3
    header, first, *_ = predict(three, "--format", "csv", model=strict).out.decode().splitlines()
    assert header == "file,label_1,probability_1,rejected,error"
    assert first.endswith(",true,")
    assert "across (rejected)" in predict(three, "--format", "table", model=strict).out.decode()


def test_multi_label_rows_have_sets_of_labels(
    predict: Predict, three: Path, tmp_path: Path
) -> None:
    (tmp_path / "many").mkdir()
    many = tiny_model_file(tmp_path / "many", task="multi-label", threshold=0.02)
    rows = predict(three, model=many).rows
    assert all(set(row) == {"file", "labels", "probabilities", "top"} for row in rows)
    assert [set(row["labels"]) for row in rows] == [set(LABELS)] * 3
    lines = predict(three, "--format", "csv", model=many).out.decode().splitlines()
    assert lines[0] == "file,labels,label_1,probability_1,error"
    assert lines[1].split(",")[1].split(";")[0] == "across"


@pytest.mark.parametrize(
    ("names", "status", "words"),
    [
        (["bad.png"], 4, "error: bad.png: text, not an image"),
        (["three", "bad.png"], 7, "error: 1 of 4 images can't be read, first bad.png"),
        (["three"], 0, ""),
        (["empty"], 4, "error: empty: no images in this folder"),
        (["three", "empty"], 7, "error: 1 of 4 images can't be read, first empty"),
        ([], 2, "error: missing INPUTS"),
    ],
)
def test_exit_status_tells_none_some_and_the_only_image_failed_apart(
    predict: Predict, three: Path, tmp_path: Path, names: list[str], status: int, words: str
) -> None:
    (tmp_path / "bad.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    done = predict(*names)
    assert done.status == status
    assert words in done.err


def test_first_failures_are_listed_at_the_end(predict: Predict, tmp_path: Path) -> None:
    for number in range(14):
        (tmp_path / f"{number:02}.jpg").write_text("no image")
    done = predict("[01]*.jpg")
    assert [line for line in done.err.splitlines() if line.startswith("not read: ")] == [
        f"not read: {number:02}.jpg: text, not an image" for number in range(10)
    ]
    assert "… and 4 more" in done.err
    assert "not read" not in predict("[01]*.jpg", "--quiet").err


def test_on_error_fail_stops_at_the_first_and_keeps_the_rows_before_it(
    predict: Predict, three: Path, tmp_path: Path
) -> None:
    (tmp_path / "three" / "1a.png").write_text("no image")
    done = predict(three, "--on-error", "fail")
    assert done.status == 4
    assert [row["file"] for row in done.rows] == ["three/0.png", "three/1.png"]
    assert predict(three, "--on-error", "fail", "-o", "f.jsonl").status == 4
    assert len(read_rows((tmp_path / "f.jsonl").read_bytes())) == 2
    picture(tmp_path / "three" / "1a.png", 1)
    assert predict(three, "-o", "f.jsonl", "--resume").status == 0
    assert len(read_rows((tmp_path / "f.jsonl").read_bytes())) == 4


def test_any_number_of_workers_gives_the_same_rows(predict: Predict, tmp_path: Path) -> None:
    for number in range(70):
        picture(tmp_path / "many" / f"{number:02}.png", number)
    plain = predict("many", "--workers", "1", "--batch-size", "1", "--no-cache").rows
    assert [row["label"] for row in plain] == [LABELS[number % 3] for number in range(70)]
    assert predict("many", "--workers", "3").rows == plain


def test_names_that_are_not_utf_8_are_written_in_every_format(
    predict: Predict, tmp_path: Path
) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/odd/b\xff\x1b[31m.png")
    picture(Path(path))
    [row] = predict("odd").rows
    assert Path(row["file"]).is_file()
    assert b"odd/b\\udcff" in predict("odd", "--format", "csv").out
    table = predict("odd", "--format", "table").out
    assert b"across" in table
    assert b"\x1b" not in table


def test_closed_pipe_ends_the_command_without_a_message(tmp_path: Path) -> None:
    model = tiny_model_file(tmp_path)
    picture(tmp_path / "one.png")
    for number in range(3000):
        (tmp_path / "many" / f"{number}.png").parent.mkdir(exist_ok=True)
        (tmp_path / "many" / f"{number}.png").hardlink_to(tmp_path / "one.png")
    command = [sys.executable, "-m", "toolchain", "predict", str(model), "many"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"file": "many/0.png"')
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_full_disk_is_an_error_of_one_line(rtl: Rtl, tmp_path: Path) -> None:
    picture(tmp_path / "one.png")
    done = rtl("predict", tiny_model_file(tmp_path), "one.png", "-o", "/dev/full")
    assert done.returncode == 1
    assert "error: /dev/full: no space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_terminal_gets_a_table_and_a_pipe_gets_rows(three: Path, tmp_path: Path) -> None:
    model = tiny_model_file(tmp_path)
    command = [sys.executable, "-m", "toolchain", "predict", str(model), "three"]
    controller, terminal = pty.openpty()
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=terminal, stdin=terminal, cwd=tmp_path, check=True
    )
    # The bar is drawn on the terminal; no row of the pipe is lost to it.
    assert [row["label"] for row in read_rows(done.stdout)] == list(LABELS)
    subprocess.run(
        command, stdout=terminal, stderr=terminal, stdin=terminal, cwd=tmp_path, check=True
    )
    os.close(terminal)
    shown = b""
    while b"three/2.png" not in shown:
        shown += os.read(controller, 65536)
    os.close(controller)
    assert b"left" in shown
    assert b"file" in shown


def test_progress_line_has_the_count_the_rate_and_the_time_left() -> None:
    progress = TerminalProgress(bar=False, lines=True)
    progress.total, progress.done = 90_000, 30_000
    assert progress.line(seconds=300) == "30,000 of 90,000 images, 100.0/s, 10:00 left"
    progress.total = None
    assert progress.line(seconds=300) == "30,000 images, 100.0/s"
    progress.done = 1
    assert progress.line(seconds=10) == "1 image, 0.1/s"


def test_standard_input_is_one_image(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = picture(tmp_path / "one.png", 2).read_bytes()
    put_on_stdin(monkeypatch, data)
    assert [(row["file"], row["label"]) for row in predict("-").rows] == [("-", "down")]
    put_on_stdin(monkeypatch, b"one.png\n")
    assert predict("-").status == 4
    put_on_stdin(monkeypatch, b"one.png\n")
    assert [row["label"] for row in predict("--files-from", "-").rows] == ["down"]


def test_list_that_does_not_exist_is_one_line(predict: Predict) -> None:
    done = predict("--files-from", "gone.txt")
    assert done.status == 3
    assert "error: gone.txt: no such file" in done.err
