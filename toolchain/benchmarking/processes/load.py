"""Processes that keep cores busy while something is measured."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

SPIN = "import sys; sys.stdout.write('.'); sys.stdout.flush()\nwhile True: pass"


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Run `count` processes, each of which takes all the time of a core that it can get."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(
                subprocess.Popen([sys.executable, "-I", "-S", "-c", SPIN], stdout=subprocess.PIPE)
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.read(1)  # from now on it is busy
        yield
