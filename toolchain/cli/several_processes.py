"""`--processes N`: starts a command N times on this machine, for training together.

torchrun does so too, and on several machines. But it adds forty lines of its own to an error of the
command, and its exit status is 1 whatever the command's is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, TypeVar

import click

from toolchain.cli.signals import STOP_SIGNALS
from toolchain.cli.streams import write_line
from toolchain.runtime.cores import usable_cores

Function = TypeVar("Function", bound=Callable[..., Any])

MOST_PROCESSES = 64
OPTION = "--processes"
GRACE_S = 60.0
"""How long the others may take to end after one has failed. One that waits to be joined by it would
wait for hours."""
POLL_S = 0.05


def processes_option(function: Function) -> Function:
    """Add `--processes`, which starts the command again so many times instead of running it."""
    option = click.option(
        OPTION,
        type=click.IntRange(min=1, max=MOST_PROCESSES),
        metavar="N",
        expose_value=False,
        callback=_start,
        help="Train in N processes of this machine, each with a GPU where there are some.",
    )
    return option(function)


def process_words() -> tuple[str, ...]:
    """Return the words that start a command in as many processes as this one; none for one."""
    count = os.environ.get("WORLD_SIZE", "1")
    return () if count == "1" else (OPTION, count)


def _start(context: click.Context, _: click.Parameter, count: int | None) -> None:
    words: Sequence[str] | None = context.obj  # None where the command is only parsed
    if count is None or count == 1 or words is None:
        return
    if process_words():
        raise click.UsageError(f"{OPTION} {count}: torchrun has started several processes already")
    context.exit(run_in_processes(without_option(words), count))


def without_option(words: Sequence[str]) -> list[str]:
    """Return the words of a command without `--processes`.

    >>> without_option(["finetune", "photos", "--processes", "2", "--epochs", "3"])
    ['finetune', 'photos', '--epochs', '3']
    """
    found, left = [], iter(words)
    for word in left:
        if word == OPTION:
            next(left, None)
        elif not word.startswith(f"{OPTION}="):
            found.append(word)
    return found


def run_in_processes(words: Sequence[str], count: int) -> int:
    """Run a command in `count` processes that train together, and return the exit status.

    It is 0 where all have ended well, else that of the first process that failed with one of the
    command's own. A signal to this process is sent on to each.
    """
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    threads = {"OMP_NUM_THREADS": str(max(1, usable_cores() // count))}
    sizes = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "toolchain", *words],
            env={
                **threads,
                **os.environ,
                **place,
                **sizes,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
            },
            # In a session of its own, so that Ctrl-C comes through this process, and once.
            start_new_session=True,
        )
        for rank in range(count)
    ]
    with _signals_sent_on(started) as sent:
        failed = _failures(started, sent)
    killed = [rank for rank, status in failed if status < 0]
    for rank in killed if not sent else ():
        name = signal.Signals(-dict(failed)[rank]).name
        write_line(f"process {rank + 1} of {count} was killed by {name}", sys.stderr)
    statuses = [status if status > 0 else 128 - status for _, status in sorted(failed, key=_own)]
    return statuses[0] if statuses else 0


def _own(failure: tuple[int, int]) -> bool:
    """Sort failures with a status of the command's own before those by a signal."""
    return failure[1] < 0


def _failures(started: Sequence[subprocess.Popen[bytes]], sent: list[int]) -> list[tuple[int, int]]:
    """Wait for all, and return (rank, exit status) of those that failed, in that order in time.

    When one has failed, the others find out by themselves; what has not ended in time is killed,
    unless a signal was sent on: then it is writing what it has, and another signal ends it.
    """
    failed: list[tuple[int, int]] = []
    running, deadline = dict(enumerate(started)), float("inf")
    while running:
        for rank, process in list(running.items()):
            status = process.poll()
            if status is None:
                continue
            del running[rank]
            if status != 0:
                failed.append((rank, status))
                deadline = min(deadline, time.monotonic() + GRACE_S)
        if running and not sent and time.monotonic() > deadline:
            for process in running.values():
                process.kill()
        time.sleep(POLL_S)
    return failed


@contextlib.contextmanager
def _signals_sent_on(started: Sequence[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Send the signals that ask this process to end to others instead; yield those so far."""
    sent: list[int] = []

    def send_on(number: int, _: FrameType | None) -> None:
        sent.append(number)
        for process in started:
            process.send_signal(number)

    numbers = [getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if before[number] != signal.SIG_IGN:
            signal.signal(number, send_on)
    try:
        yield sent
    finally:
        for number in numbers:
            signal.signal(number, before[number])


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
    return port
