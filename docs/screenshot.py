"""Make the pictures of docs/images: what a terminal shows, as SVG, and a page in a browser, as PNG.

    python docs/screenshot.py                                          all of PICTURES, in minutes
    python docs/screenshot.py verify-80.svg report.png                 some of them
    python docs/screenshot.py 80 evaluate.svg rtl evaluate runs/food   one of yours
    python docs/screenshot.py 1000x780 report.png runs/food/report.html

Those of PICTURES are made in a temporary folder, with the shared folder (RTL_SHARED) at ../shared,
as docs/check.py runs the commands of pages. A page needs Chromium.
"""

from __future__ import annotations

import io
import os
import pty
import shlex
import struct
import subprocess
import sys
import tempfile
from fcntl import ioctl
from pathlib import Path
from termios import TIOCSWINSZ

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("RTL_SHARED", ROOT.parent / "shared")).resolve()
IMAGES = ROOT / "docs" / "images"
LINES = 60

WEIGHTS = "../shared/weights/resnet18-imagenet-partial.safetensors"
RUN = (
    f"rtl finetune ../shared/data/food3 --config {ROOT}/configs/photos-head.toml "
    f"--weights {WEIGHTS} -o runs/food",
    "rtl evaluate runs/food",
    "rtl export runs/food --format onnx --format torchscript",
    "rtl bench runs/food",
    "rtl report runs/food",
)
"""What makes the run that some pictures show."""
PICTURES = {
    "demo-80.svg": ("80", "rtl demo"),
    "demo-weights-120.svg": ("120", f"rtl demo --weights {WEIGHTS} -o rtl-demo-weights"),
    "verify-80.svg": ("80", "rtl verify runs/food/export/model.onnx"),
    "report.png": ("1000x540", "runs/food/report.html"),
}
"""File → (columns, command), or (pixels, page)."""


def main(arguments: list[str]) -> None:
    """Make the pictures that the command line names, or the one that it describes."""
    if arguments and arguments[0][0].isdigit():
        size, picture, *words = arguments
        make(size, Path(picture), words)
        return
    with tempfile.TemporaryDirectory(prefix="screenshots-") as folder:
        (Path(folder) / "shared").symlink_to(SHARED)
        work = Path(folder) / "work"
        work.mkdir()
        os.chdir(work)
        made = {name: PICTURES[name] for name in arguments or PICTURES}
        if any("runs/food" in shown for _, shown in made.values()):
            for command in RUN:
                subprocess.run(shlex.split(command), check=True)
        for name, (size, shown) in made.items():
            make(size, IMAGES / name, shlex.split(shown))
            print(f"docs/images/{name}")


def make(size: str, picture: Path, words: list[str]) -> None:
    """Write one picture: of a page where `words` is one, else of a command."""
    picture.parent.mkdir(parents=True, exist_ok=True)
    if words[0].endswith(".html"):
        width, _, height = size.partition("x")
        photograph(Path(words[0]), int(width), int(height or 900), picture)
        return
    console = Console(record=True, width=int(size), file=io.StringIO())
    console.print(Text(f"$ {shlex.join(words)}", "bold"))
    console.print(Text.from_ansi(settled(record(words, int(size)))))
    console.save_svg(str(picture), title=f"{size} columns")


def photograph(page: Path, width: int, height: int, picture: Path) -> None:
    """Write a PNG of the top of a page, in the light scheme."""
    sys.path.insert(0, str(ROOT))
    from tests.reporting.chromium import chromium_page, find_chromium

    program = find_chromium()
    if program is None:
        raise SystemExit("no Chromium is installed, which takes the picture of a page")
    with chromium_page(program, page) as browser:
        browser.show(width, "light", height)
        browser.picture(picture, whole=False)


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


if __name__ == "__main__":
    main(sys.argv[1:])
