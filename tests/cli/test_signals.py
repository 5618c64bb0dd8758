"""SIGTERM and SIGHUP stop a command as Ctrl-C does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

RTL = """
import signal, sys, time
from toolchain.cli import main
BEFORE
class Waiting:
    @staticmethod
    def main(*arguments, **options):
        try:
            print("ready", flush=True)
            time.sleep(600)
        finally:
            print("cleaned up", flush=True)
            AFTER
main.rtl = Waiting
sys.argv = ["rtl"]
main.run()
"""


def start(before: str = "", after: str = "pass") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", RTL.replace("BEFORE", before).replace("AFTER", after)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("SIGINT", 130, "interrupted"),
        ("SIGTERM", 143, "stopped by SIGTERM"),
        ("SIGHUP", 129, "stopped by SIGHUP"),
    ],
)
def test_a_signal_ends_the_command_after_it_has_cleaned_up(
    name: str, status: int, message: str
) -> None:
    # A closed terminal and systemd send two at once: a busy machine may take long between them.
    process = start(before="from toolchain.cli import signals; signals.SAME_STOP_S = 60")
    for _ in range(2):
        process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=300)
    assert (out, err) == ("cleaned up\n", f"error: {message}\n")
    # Where the second comes while Python shuts down, it ends the process; shells report the same.
    code = process.returncode
    assert (code if code >= 0 else 128 - code) == status


def test_a_second_signal_ends_it_at_once() -> None:
    process = start(after="time.sleep(600)")
    assert process.stdout is not None
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "cleaned up\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGTERM


def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    process = start(before="signal.signal(signal.SIGHUP, signal.SIG_IGN)")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    assert process.returncode == 143
