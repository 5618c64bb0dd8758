"""Signals that ask a command to end: SIGTERM and SIGHUP do what Ctrl-C does."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

from toolchain.errors import StopSignal

STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
SAME_STOP_S = 0.3
"""Signals within this time are one wish: a closed terminal and systemd send two of them at once."""


def stop_on_signals() -> None:
    """Let the signals that end a process raise KeyboardInterrupt once; a second one ends it.

    So the best epoch is written and no file is left unfinished. A signal that is ignored, as
    `nohup` ignores SIGHUP, stays ignored.
    """
    handler = _Handler()
    for name in STOP_SIGNALS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        default = (signal.SIG_DFL, signal.default_int_handler)
        if number is not None and signal.getsignal(number) in default:
            signal.signal(number, handler)


class _Handler:
    def __init__(self) -> None:
        self.first_s: float | None = None
        """When the first signal came, by `time.monotonic`."""

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.first_s is None:
            self.first_s = time.monotonic()
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise StopSignal(number, signal.Signals(number).name)
        # torchrun passes on to its processes what the terminal has sent them already.
        repeated = time.monotonic() - self.first_s < SAME_STOP_S
        if not repeated and "TORCHELASTIC_RUN_ID" not in os.environ:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
