"""Output that can't be written, or not in the stream's encoding: no command fails for it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from toolchain.cli.streams import GuardedStream, Streams, guard_streams
from toolchain.cli.terminal import print_json

NO_FULL = not Path("/dev/full").exists()


class Broken(io.RawIOBase):
    """A file whose writes fail."""

    def writable(self) -> bool:
        return True

    def write(self, _: Any) -> int:
        raise OSError(28, "No space left on device")


def broken() -> GuardedStream:
    return GuardedStream(io.TextIOWrapper(io.BufferedWriter(Broken(), 16), "utf-8"))


def whole() -> GuardedStream:
    return GuardedStream(io.TextIOWrapper(io.BytesIO(), "utf-8"))


def test_writes_that_fail_are_dropped_and_told_at_the_end() -> None:
    out = broken()
    assert out.write("a line that is longer than the buffer\n") == 38
    out.writelines(["and", "more"])
    lost = Streams(out, whole()).lost_output()
    assert lost is not None
    assert "standard output can't be written: no space left on device" in str(lost)
    assert lost.exit_code == 12


def test_output_that_was_written_is_not_lost() -> None:
    out, err = whole(), whole()
    out.write("all")
    assert Streams(out, err).lost_output() is None
    assert out.buffer.getvalue() == b"all"  # type: ignore[attr-defined]


def shell(command: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command of bash in which $RTL stands for rtl."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "RTL": f"{sys.executable} -m toolchain"}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env={**variables, **env},
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(NO_FULL, reason="no device that is always full")
@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("$RTL cache >/dev/full", 12, b"standard output can't be written: no space left"),
        ("$RTL cache 2>/dev/full", 0, b""),  # nothing was to be written there
        ("$RTL nonsense 2>/dev/full", 2, b""),
        ("$RTL cache >&-", 12, b"standard output can't be written: "),
        ("$RTL nonsense >&- 2>&- <&-", 2, b""),
    ],
)
def test_the_exit_status_tells_of_lost_output(command: str, status: int, message: bytes) -> None:
    done = shell(command)
    assert done.returncode == status, done.stderr
    assert message in done.stderr
    assert done.stderr.count(b"\n") == (message != b"")


def test_a_file_is_not_opened_in_place_of_a_closed_stream() -> None:
    code = "from toolchain.cli.streams import guard_streams; guard_streams(); "
    code += "file = open('/dev/null'); import sys; sys.exit(file.fileno() < 3)"
    assert shell(f'{sys.executable} -c "{code}" <&- >&- 2>&-').returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_results_can_be_written_in_every_encoding(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bytes_, result = io.BytesIO(), {"label": "crème → 寿司 🍣", "file": "caf\udce9.jpg"}
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(bytes_, encoding))
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(io.BytesIO(), encoding))
    guard_streams()
    print_json(result)
    assert json.loads(bytes_.getvalue().decode(encoding)) == {**result, "file": "caf\\xe9.jpg"}
    sys.stdout.write("0.9 → 0.8 \udce9\n")
    sys.stdout.flush()
    assert bytes_.getvalue().endswith(b"\n")
