"""Closed streams, loops of links, very long arguments and numbers out of bounds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Rtl, draw_stripes
from tests.runtime.tiny import tiny_model, write


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    draw_stripes(tmp_path / "a.jpg", "down", 1)
    return write(tiny_model(), tmp_path / "tiny.onnx")


@pytest.fixture
def loop(tmp_path: Path) -> Path:
    (tmp_path / "loop").symlink_to(tmp_path / "pool")
    (tmp_path / "pool").symlink_to(tmp_path / "loop")
    return tmp_path / "loop"


@pytest.mark.parametrize(
    "words", [("predict", "tiny.onnx", "-"), ("predict", "tiny.onnx", "--files-from", "-")]
)
def test_closed_standard_input_is_one_line(tiny: Path, words: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "toolchain", *words]
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *command],
        cwd=tiny.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "error: standard input is closed" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "LOOP", "a.jpg"),
        ("predict", "MODEL", "LOOP"),
        ("predict", "MODEL", "a.jpg", "-o", "LOOP"),
        ("predict", "MODEL", "a.jpg", "-o", "LOOP/rows.jsonl"),
        ("predict", "MODEL", "--files-from", "LOOP"),
        ("verify", "LOOP"),
        ("verify", "MODEL", "--run", "LOOP"),
        ("inspect", "LOOP"),
        ("bench", "LOOP"),
        ("evaluate", "LOOP"),
        ("export", "LOOP"),
        ("data", "check", "LOOP"),
    ],
)
def test_a_loop_of_links_is_one_line(
    rtl_here: Rtl, tiny: Path, loop: Path, words: tuple[str, ...]
) -> None:
    places = {"LOOP": str(loop), "MODEL": str(tiny)}
    typed = [
        str(loop / "rows.jsonl") if w == "LOOP/rows.jsonl" else places.get(w, w) for w in words
    ]
    done = rtl_here(*typed)
    assert done.returncode not in (0, 1), done.stderr
    assert "bug in rtl" not in done.stderr
    assert done.stderr.count("error: ") == 1


@pytest.mark.parametrize("threads", ["0", "-1", "100000", "1.5", "two"])
def test_threads_out_of_bounds_are_refused_at_once(rtl_here: Rtl, tiny: Path, threads: str) -> None:
    for command in (("predict", tiny, "a.jpg"), ("bench", tiny), ("verify", tiny)):
        done = rtl_here(*command, "--threads", threads)
        assert done.returncode == 2
        assert "--threads" in done.stderr


def test_a_very_long_argument_is_shortened(rtl_here: Rtl, tiny: Path) -> None:
    text = "/9j/" + "A1b2" * 15000
    for words in (("predict", tiny, text), ("predict", text, "a.jpg"), ("inspect", text)):
        done = rtl_here(*words)
        assert done.returncode in (4, 5)
        assert len(done.stderr) < 500
    assert "base64 text, not a path" in rtl_here("predict", tiny, text).stderr


def test_the_digest_of_the_model_is_required(rtl_here: Rtl, tiny: Path) -> None:
    assert rtl_here("predict", tiny, "a.jpg", "--sha256", "0" * 64).returncode == 5
    refused = rtl_here("predict", tiny, "a.jpg", "--sha256", "abc")
    assert refused.returncode == 2
    assert "64 hex digits" in refused.stderr
