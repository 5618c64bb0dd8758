"""Run the Python blocks of docs/python.md as one script, and compare what it prints.

The script runs in a temporary folder with a copy of configs/ and the shared folder (RTL_SHARED) at
../shared. Each line of the page's ```text blocks has to be printed, but for measured times.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("RTL_SHARED", ROOT.parent / "shared")).resolve()
PAGE = ROOT / "docs" / "python.md"


def main() -> int:
    """Run the page and return the exit status: 1 where it fails or prints something else."""
    if not SHARED.is_dir():
        print(f"docs/python.md: skipped, no folder {SHARED}; set RTL_SHARED")
        return 0
    text = PAGE.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="docs-check-") as folder:
        done = run(script(blocks(text, "python")), Path(folder))
    if done.returncode:
        print(f"docs/python.md: exit status {done.returncode}\n{done.stderr}")
        return 1
    missing = [
        line
        for block in blocks(text, "text")
        for line in block.splitlines()
        if line not in done.stdout and not line.startswith("time ")
    ]
    for line in missing:
        print(f"docs/python.md: not printed: {line}")
    print("docs/python.md: " + (f"it printed:\n{done.stdout}" if missing else "ran"))
    return 1 if missing else 0


def blocks(text: str, language: str) -> list[str]:
    """Return the contents of the blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def script(sources: list[str]) -> str:
    """Return the blocks as one script, in the form that `bench` and worker processes need."""
    body = "\n".join(sources)
    return "if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in body.split("\n"))


def run(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a new folder `work`, beside the shared folder."""
    work = folder / "work"
    shutil.copytree(ROOT / "configs", work / "configs")
    (folder / "shared").symlink_to(SHARED)
    (work / "page.py").write_text(source, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "page.py"], cwd=work, capture_output=True, text=True, check=False
    )


if __name__ == "__main__":
    sys.exit(main())
