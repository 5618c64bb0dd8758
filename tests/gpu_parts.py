"""Parts for the tests of benchmarks/gpu: each ends in another way. They import nothing heavy."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.gpu.job import CannotRunError, Job, PartFailedError, Rows


def good(job: Job, *, value: int = 0) -> Rows:
    yield {"device": job.device, "value": value}


def lacking(job: Job) -> Rows:
    raise CannotRunError("the wheel of abacus is missing")
    yield {}


def wrong(job: Job) -> Rows:
    yield {"value": 1}
    raise PartFailedError("2 of 3 levels failed")


def raising(job: Job) -> Rows:
    yield {"value": 1}
    raise ValueError("an error\nof two lines")


def killed(job: Job) -> Rows:
    yield {"value": 1}
    os.kill(os.getpid(), signal.SIGKILL)


def slow(job: Job) -> Rows:
    """Start a process that goes on, and never end."""
    yield {"value": 1}
    sleeping = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(job.folder, "sleeping").write_text(str(sleeping.pid))
    time.sleep(60)


def abacus(job: Job) -> Rows:
    """Use a package that only a wheel brings."""
    yield {"value": importlib.import_module("abacus").VALUE}
