"""Truncated and damaged model files, other things than files, and the commands' errors for them."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.runtime.onnxfile.hostile import (
    BIG,
    DEEP,
    Tampering,
    card_text,
    card_with,
    changed,
    dims,
    external,
    function,
    node,
    refusal,
    weights,
)
from tests.runtime.tiny import CLASSES, tiny_model, write
from toolchain import Predictor
from toolchain.errors import ModelFileError

MEMORY = 3 << 30
"""Address space of a command in bytes; it needs 1 GiB to start."""


def test_file_truncated_anywhere_is_refused(tmp_path: Path) -> None:
    whole = tiny_model().SerializeToString()
    path = tmp_path / "model.onnx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        refusal(path)


def test_trained_model_truncated_anywhere_is_refused(model: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(model, tmp_path))
    size = path.stat().st_size
    for length in [*(size * i // 16 for i in range(15, 0, -1)), 64, 8, 4, 3, 2, 1, 0]:
        os.truncate(path, length)
        message = refusal(path)
        assert "can't be opened" in message


def test_damaged_bytes_are_opened_or_a_model_file_error(
    tmp_path: Path,
) -> None:
    whole = tiny_model().SerializeToString()
    path = tmp_path / "model.onnx"
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for position in rng.integers(0, len(data), 3):
            data[position] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            Predictor(path).close()
        except ModelFileError:
            refused += 1
    assert 200 < refused < 400


def test_pipe_device_and_loop_of_links_are_refused(tmp_path: Path) -> None:
    pipe, loop = tmp_path / "pipe.onnx", tmp_path / "loop.onnx"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    assert "is a pipe or device" in refusal(pipe)
    assert "is a pipe or device" in refusal(Path("/dev/zero"))
    assert "too many levels of symbolic links" in refusal(loop)
    with pytest.raises(ModelFileError, match=r"x…x+ can't be opened: file name too long"):
        Predictor(tmp_path / ("x" * 300))
    with pytest.raises(ModelFileError, match="can't be opened: embedded null"):
        Predictor("model\0.onnx")


def test_the_suffix_does_not_select_another_format(tmp_path: Path) -> None:
    path = write(tiny_model(), tmp_path / "model.ort")
    with Predictor(path) as predictor:  # by its name onnxruntime would read it as a FlatBuffer
        assert predictor.classes == CLASSES


def limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def gigabytes(model: onnx.ModelProto) -> None:
    weights(n=[BIG])(model)
    node("ConstantOfShape", ["n"], ["huge"])(model)


COMMANDS = {
    "predict": ["photo.jpg"],
    "inspect": [],
    "verify": [],
}


@pytest.mark.parametrize(
    ("command", "change"),
    [
        ("predict", gigabytes),
        ("inspect", gigabytes),
        ("verify", gigabytes),
        ("predict", function("Own", "Own", "Own")),
        ("inspect", lambda m: m.graph.initializer.append(external("pipe"))),
        ("verify", dims(2**40)),
        ("inspect", card_text(DEEP)),
        ("inspect", card_with(task="one\n\x1b[2Jerror: two")),
    ],
)
def test_command_refuses_a_hostile_file_with_one_line_in_bounded_memory(
    command: str, change: Tampering, tmp_path: Path
) -> None:
    path = changed(tmp_path, change)
    os.mkfifo(tmp_path / "pipe")
    done = subprocess.run(
        [sys.executable, "-m", "toolchain", command, path.name, *COMMANDS[command]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
        preexec_fn=limit_memory,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    first, second, *rest = done.stderr.splitlines()
    assert (done.returncode, done.stdout, rest) == (5, "", [])
    assert first.startswith("error: ")
    assert second.startswith("hint: ")
    assert "model.onnx" in first
    assert (first + second).isprintable()


@pytest.mark.parametrize("command", ["predict", "inspect", "verify"])
def test_command_refuses_a_pipe_with_one_line(command: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = subprocess.run(
        [sys.executable, "-m", "toolchain", command, "pipe", *COMMANDS[command]],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == "error: pipe is a pipe or device, not a model file\n"
