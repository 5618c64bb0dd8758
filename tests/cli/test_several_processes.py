"""`--processes N`: one command in several processes, with one error and one exit status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, Rtl
from toolchain.cli.main import run_command
from toolchain.cli.several_processes import OPTION, without_option
from toolchain.runs.runfolder import RunFolder


def test_two_processes_train_one_run(
    rtl: Rtl, stripes: Path, random_weights: Path, tmp_path: Path
) -> None:
    words = ("--weights", random_weights, "--strategy", "head", "--size", 32, "--epochs", 1)
    done = rtl("finetune", stripes, *words, "--workers", 0, OPTION, 2, "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "on cpu in 2 processes" in done.stderr
    assert done.stderr.count("epoch 1/1") == 1
    assert RunFolder(tmp_path / "run").weights.is_file()


@pytest.mark.parametrize(
    ("words", "status"),
    [(("nowhere",), 3), (("nowhere", "--no-such-option"), 2), (("nowhere", "--epochs", "x"), 2)],
)
def test_an_error_is_printed_once_with_its_own_status(
    rtl: Rtl, words: tuple[str, ...], status: int
) -> None:
    done = rtl("finetune", *words, OPTION, "2")
    assert done.returncode == status
    assert done.stderr.count("error: ") == 1
    assert len(done.stderr.splitlines()) <= 2


def test_it_is_refused_where_torchrun_has_started_several(rtl: Rtl) -> None:
    done = rtl("finetune", "photos", OPTION, "2", env={"WORLD_SIZE": "2"})
    assert done.returncode == 2
    assert "torchrun has started several processes already" in done.stderr


def started(tmp_path: Path, body: str) -> subprocess.Popen[str]:
    """Start two processes that run `body` instead of the package's command."""
    package = tmp_path / "toolchain"
    package.mkdir()
    (package / "__main__.py").write_text(f"import os, signal, sys, time\n{body}\n")
    (package / "__init__.py").write_text("")
    start = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from toolchain.cli import several_processes as s; s.GRACE_S = 1.0\n"
        "sys.exit(s.run_in_processes([], 2))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.Popen(
        [sys.executable, "-c", start, str(ROOT)],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


RANK = "rank = int(os.environ['RANK'])\n"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("sys.exit(0)", 0, ""),
        ("sys.exit(4 if rank else 0)", 4, ""),
        # It has a status of its own when the other was killed; else there is the signal's alone.
        (
            "os.kill(os.getpid(), 9) if rank else (time.sleep(.3), sys.exit(4))",
            4,
            "2 of 2 was kill",
        ),
        ("os.kill(os.getpid(), 9) if rank else sys.exit(0)", 137, "2 of 2 was killed by SIGKILL"),
        ("sys.exit(3) if rank else time.sleep(600)", 3, "1 of 2 was killed by SIGKILL"),
    ],
)
def test_the_status_is_that_of_the_first_that_failed_and_nothing_hangs(
    body: str, status: int, message: str, tmp_path: Path
) -> None:
    process = started(tmp_path, RANK + body)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, message in errors) == (status, True), errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_each_process_and_waits_for_what_it_writes(
    number: signal.Signals, tmp_path: Path
) -> None:
    stop = (
        "def stop(n, f):\n"
        "    time.sleep(1.5); open(f'{rank}-{n}', 'w').close(); sys.exit(128 + n)\n"
        "signal.signal(signal.SIGINT, stop); signal.signal(signal.SIGTERM, stop)\n"
        "open(f'ready-{rank}', 'w').close(); time.sleep(600)"
    )
    process = started(tmp_path, RANK + stop)
    ends = time.monotonic() + 60
    while len(list(tmp_path.glob("ready-*"))) < 2:
        assert time.monotonic() < ends
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert {file.name for file in tmp_path.glob("?-*")} == {f"0-{number}", f"1-{number}"}
    assert "killed" not in errors


def test_the_words_of_the_command_are_kept() -> None:
    words = ["finetune", "a b", OPTION, "2", "--json", f"{OPTION}=3", "-o", "run"]
    assert without_option(words) == ["finetune", "a b", "--json", "-o", "run"]


@pytest.mark.parametrize("mode", [("--lr-find",), ("--cv", "3"), ("--try", "strategies")])
def test_what_trains_no_model_is_refused_in_several_processes_at_once(
    mode: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_command(["finetune", "nowhere", *mode]) == 2
    assert f"{mode[0]} runs in one process, without --processes 2" in capsys.readouterr().err


@pytest.mark.parametrize("resumed", [False, True])
def test_a_command_that_is_stopped_early_is_repeated_in_as_many_processes(
    resumed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for name in ("finetune", "resume"):
        monkeypatch.setattr(f"toolchain.training.finetune.{name}", stopped)
    monkeypatch.setenv("WORLD_SIZE", "2")
    words = ["--resume", "run"] if resumed else ["photos", "--weights", "none"]
    assert run_command(["finetune", *words]) == 130
    assert f"hint: rtl finetune {' '.join(words)} --processes 2\n" in capsys.readouterr().err
