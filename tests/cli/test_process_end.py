"""How a command's process ends: at once, without looking for garbage in all that was imported."""

from __future__ import annotations

import subprocess
import sys

# What is registered before the command is called after everything that the command registers.
COMMAND = """
import atexit, gc, sys
atexit.register(lambda: print("frozen", gc.get_freeze_count() > 0, flush=True))
sys.argv = ["rtl", "--version"]
from toolchain.cli.main import run
run()
"""


def test_nothing_is_left_for_the_last_collection() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "frozen True"
