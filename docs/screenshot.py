"""Run a command on a terminal of a given width and keep what it showed as an SVG picture.

python docs/screenshot.py 80 docs/images/evaluate-80.svg rtl evaluate runs/food
"""

from __future__ import annotations

import io
import os
import pty
import shlex
import struct
import sys
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

from rich.console import Console
from rich.text import Text

LINES = 60


def record(command: list[str], columns: int) -> str:
    """Return what a command writes to a terminal of this many columns, colours included."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"COLUMNS": str(columns), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        os.execvp(command[0], command)
    ioctl(terminal, TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    written = bytearray()
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the command has ended and closed the terminal
            break
        if not part:
            break
        written += part
    os.waitpid(pid, 0)
    return written.decode(errors="replace")


def settled(written: str) -> str:
    """Return what stays on the screen: progress bars that were drawn over are left out."""
    lines: list[str] = []
    for line in written.replace("\r\n", "\n").split("\n"):
        # A bar moves the cursor up and clears its line before it is drawn again.
        erased = line.count("\x1b[1A")
        if erased:
            del lines[len(lines) - erased :]
        kept = line.rsplit("\x1b[2K", 1)[-1]
        lines.append(kept.rsplit("\r", 1)[-1].replace("\x1b[?25h", "").replace("\x1b[?25l", ""))
    return "\n".join(lines).rstrip()


def main() -> None:
    """Take columns, picture and command from the command line."""
    columns, picture, command = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    console = Console(record=True, width=columns, file=io.StringIO())
    console.print(Text(f"$ {shlex.join(command)}", "bold"))
    console.print(Text.from_ansi(settled(record(command, columns))))
    picture.parent.mkdir(parents=True, exist_ok=True)
    console.save_svg(str(picture), title=f"{columns} columns")


if __name__ == "__main__":
    main()
