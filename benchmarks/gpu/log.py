"""What rtl reports while a part runs, in the part's log: its end is kept where the part fails."""

from __future__ import annotations

import time

from toolchain.progress import SilentReporter

STARTED = time.monotonic()


class MessageLog(SilentReporter):
    """Prints each message with the seconds since the part began."""

    def message(self, text: str) -> None:
        """Print one line."""
        print(f"{time.monotonic() - STARTED:7.1f} s  {text}", flush=True)
