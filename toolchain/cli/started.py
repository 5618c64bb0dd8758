"""When the command began, for a budget of time: with the process, which first loads Python."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_process_start: float | None = None


def note_process_start() -> None:
    """Note that this process runs one command, so that its time counts from the process's start."""
    global _process_start
    _process_start = time.monotonic() - _process_age()


def command_start() -> float:
    """Return when the command began, as `time.monotonic` counts.

    It is now where the process does other things too, as in a notebook.
    """
    return time.monotonic() if _process_start is None else _process_start


def _process_age() -> float:
    """Return for how many seconds this process has existed; 0 where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError, AttributeError):
        # The name of the program, in brackets, may have blanks in it.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        since_boot = float(fields[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot)
    return 0.0
