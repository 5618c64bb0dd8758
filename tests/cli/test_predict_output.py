"""`rtl predict --output`: only whole rows, whatever happens, and `--resume` adds the missing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.cli.predicting import Predict, read_rows
from tests.prediction.pictures import LABELS, picture, tiny_model_file
from tests.runtime.tiny import tiny_model, weight, write
from toolchain.prediction import rowfile

MANY = 4000


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Nine pictures, and a file that is not an image."""
    for number in range(9):
        picture(tmp_path / "photos" / f"{number}.png", number)
    (tmp_path / "photos" / "bad.png").write_text("no image")
    return Path("photos")


@pytest.fixture
def many_files(tmp_path: Path) -> Path:
    """A folder of very many files."""
    one = picture(tmp_path / "one.png")
    (tmp_path / "many_files").mkdir()
    for number in range(MANY):
        (tmp_path / "many_files" / f"{number:05}.png").hardlink_to(one)
    return tmp_path / "many_files"


@pytest.mark.parametrize(("name", "row_bytes"), [("rows.jsonl", 120), ("rows.csv", 34)])
def test_kill_at_any_moment_leaves_whole_rows_to_resume_from(
    tmp_path: Path, many_files: Path, name: str, row_bytes: int
) -> None:
    model, output = tiny_model_file(tmp_path), tmp_path / name
    command = [sys.executable, "-m", "toolchain", "predict", str(model), "many_files", "-o", name]
    moments = random.Random(name)
    for _ in range(3):
        before = output.stat().st_size if output.exists() else 0
        process = subprocess.Popen([*command, "--resume"], cwd=tmp_path, stderr=subprocess.PIPE)
        wanted = before + row_bytes * moments.randrange(1, MANY // 6)
        while process.poll() is None and (not output.exists() or output.stat().st_size < wanted):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert output.read_bytes()[-1:] in (b"", b"\n")
    assert 0 < output.read_bytes().count(b"\n") < MANY  # it was killed while it wrote
    subprocess.run([*command, "--resume", "-q"], cwd=tmp_path, check=True)
    lines = output.read_text().splitlines()
    if name == "rows.jsonl":
        files = [row["file"] for row in read_rows(output.read_bytes())]
    else:
        assert lines.count("file,label_1,probability_1,error") == 1
        files = [line.split(",")[0] for line in lines[1:]]
    assert files == [f"many_files/{number:05}.png" for number in range(MANY)]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.csv"])
def test_file_cut_anywhere_is_resumed_to_the_same_rows(
    predict: Predict, tmp_path: Path, photos: Path, name: str
) -> None:
    picture(tmp_path / "photos" / '4 "four",\nor so.png', 1)
    assert predict(photos, "-o", name).status == 7
    whole = (tmp_path / name).read_bytes()
    for cut in range(0, len(whole), 17):
        (tmp_path / name).write_bytes(whole[:cut])
        assert predict(photos, "-o", name, "--resume", "--no-cache").status == 7, cut
        assert (tmp_path / name).read_bytes() == whole


def test_row_is_in_the_file_before_the_next_one_is_written(
    predict: Predict, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row_counts: list[int] = []
    write = rowfile.PredictionFile.write

    def write_and_count(self: rowfile.PredictionFile, *row: object) -> None:
        write(self, *row)  # type: ignore[arg-type]
        row_counts.append((tmp_path / "rows.jsonl").read_bytes().count(b"\n"))

    monkeypatch.setattr(rowfile.PredictionFile, "write", write_and_count)
    predict(photos, "-o", "rows.jsonl")
    assert row_counts == list(range(1, 11))


def test_finished_file_is_not_written_over(predict: Predict, tmp_path: Path, photos: Path) -> None:
    predict(photos, "-o", "rows.jsonl")
    before = (tmp_path / "rows.jsonl").read_bytes()
    done = predict(photos, "-o", "rows.jsonl")
    assert done.status == 3
    assert "rows.jsonl exists" in done.err
    assert "--resume" in done.err
    assert (tmp_path / "rows.jsonl").read_bytes() == before


def test_finished_file_is_left_as_it_is_and_its_errors_still_count(
    predict: Predict, tmp_path: Path, photos: Path
) -> None:
    predict(photos, "-o", "rows.jsonl")
    before = (tmp_path / "rows.jsonl").read_bytes()
    done = predict(photos, "-o", "rows.jsonl", "--resume")
    assert (tmp_path / "rows.jsonl").read_bytes() == before
    assert done.status == 7
    assert "1 of 10 images can't be read" in done.err


def test_new_files_are_added_and_a_file_that_is_given_twice_is_kept_twice(
    predict: Predict, tmp_path: Path, photos: Path
) -> None:
    twice = ("photos/0.png", "photos/1.png", "photos/0.png")
    predict(*twice[:2], "-o", "rows.jsonl")
    predict(*twice, photos, "-o", "rows.jsonl", "--resume")
    files = Counter(row["file"] for row in read_rows((tmp_path / "rows.jsonl").read_bytes()))
    assert (files["photos/0.png"], files["photos/1.png"], files["photos/2.png"]) == (3, 2, 1)


def test_names_that_are_not_utf_8_are_recognised_on_resume(
    predict: Predict, tmp_path: Path, photos: Path
) -> None:
    picture(Path(os.fsdecode(os.fsencode(tmp_path) + b"/photos/\xff.png")), 1)
    for name in ("rows.jsonl", "rows.csv"):
        predict(photos, "-o", name)
        before = (tmp_path / name).read_bytes()
        predict(photos, "-o", name, "--resume")
        assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize(
    ("card", "options", "words"),
    [
        ({"classes": ("ants", "bees", "dogs")}, (), "was not made by this model"),
        ({"threshold": 0.5}, (), "row 1: another model or other options"),
        ({"task": "multi-label"}, (), "row 1: another model or other options"),
        ({}, ("--top", "2"), "row 1: another model or other options"),
        ({}, ("--format", "csv"), "row 1: another model or other options"),
    ],
)
def test_file_of_another_model_or_other_options_is_refused_and_unchanged(
    predict: Predict,
    tmp_path: Path,
    photos: Path,
    card: dict[str, object],
    options: tuple[str, ...],
    words: str,
) -> None:
    predict(photos, "-o", "rows.jsonl")
    before = (tmp_path / "rows.jsonl").read_bytes()
    (tmp_path / "other").mkdir()
    other = tiny_model_file(tmp_path / "other", **card)
    done = predict(photos, "-o", "rows.jsonl", "--resume", *options, model=other)
    assert done.status == 3
    assert words in done.err
    assert (tmp_path / "rows.jsonl").read_bytes() == before


def test_file_of_another_model_with_the_same_classes_is_refused(
    predict: Predict, tmp_path: Path, photos: Path
) -> None:
    predict(photos, "-o", "rows.jsonl")
    other = tiny_model()
    for tensor in other.graph.initializer:
        if tensor.name == "weight":
            tensor.CopyFrom(weight("weight", -np.eye(3, dtype=np.float32) / 64))
    path = write(other, tmp_path / "other.onnx")
    done = predict(photos, "-o", "rows.jsonl", "--resume", model=path)
    assert done.status == 3
    assert "not made by this model: photos/0.png is across with 0.9192 there" in done.err


@pytest.mark.parametrize("content", [b"dear diary", b"a,b\n1,2\n", b"{}\n", bytes(99), b"\xff\n"])
def test_file_of_another_program_is_refused_and_unchanged(
    predict: Predict, tmp_path: Path, photos: Path, content: bytes
) -> None:
    for name in ("notes.jsonl", "notes.csv"):
        (tmp_path / name).write_bytes(content)
        assert predict(photos, "-o", name, "--resume").status == 3
        assert (tmp_path / name).read_bytes() == content


def test_two_processes_do_not_write_to_one_file(
    predict: Predict, tmp_path: Path, photos: Path
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="no file locks on this system")
    with (tmp_path / "rows.jsonl").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = predict(photos, "-o", "rows.jsonl", "--resume")
    assert done.status == 3
    assert "another process is writing" in done.err


def test_full_disk_leaves_whole_rows_to_resume_from(
    predict: Predict, tmp_path: Path, photos: Path
) -> None:
    """A limit on the size of files stands in for a disk that fills in the middle of a row."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, limits[1]))
    try:
        done = predict(photos, "-o", "rows.jsonl", "--no-cache", "--quiet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert done.status == 1
    assert "error: rows.jsonl: file too large" in done.err
    assert "2 rows written before are whole" in done.err
    assert len(read_rows((tmp_path / "rows.jsonl").read_bytes())) == 2
    predict(photos, "-o", "rows.jsonl", "--resume")
    rows = read_rows((tmp_path / "rows.jsonl").read_bytes())
    assert [row.get("label") for row in rows] == [*LABELS * 3, None]


def test_ctrl_c_prints_the_command_that_resumes(tmp_path: Path, many_files: Path) -> None:
    command = ["predict", str(tiny_model_file(tmp_path)), "many_files", "-o", "rows.jsonl"]
    process = subprocess.Popen(
        [sys.executable, "-m", "toolchain", *command],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # A shell that runs the suite in the background has it ignore Ctrl-C; a user's does not.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    output = tmp_path / "rows.jsonl"
    while process.poll() is None and (not output.exists() or output.stat().st_size < 1000):
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert f"hint: rtl {' '.join(command)} --resume" in stderr
    assert f"rows.jsonl has {len(read_rows(output.read_bytes())):,} rows" in stderr


@pytest.mark.parametrize(
    "options",
    [("--resume",), ("-", "-o", "x.jsonl", "--resume"), ("-o", "x.jsonl", "--format", "table")],
)
def test_options_that_do_not_go_together_are_refused(
    predict: Predict, tmp_path: Path, photos: Path, options: tuple[str, ...]
) -> None:
    assert predict(photos, *options).status == 2
    assert not (tmp_path / "x.jsonl").exists()
