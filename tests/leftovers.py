"""What tests leave on the disk: a folder for each process, which goes with it; no large files."""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

PREFIX = "rtl-tests-"
LARGE_BYTES = 1_000_000
"""Larger files are models and checkpoints, which no one reads to see why a test failed."""


def own_temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder in which this process and those that it starts have their temporary files.

    Folders of processes that were killed, which could not remove theirs, are removed. All lie side
    by side, in the folder that pytest has its own in: paths of sockets are short.
    """
    outer = os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    for left in Path(outer).glob(f"{PREFIX}*"):
        if (found := re.match(r"\d+(?=-)", left.name.removeprefix(PREFIX))) and not is_alive(
            int(found[0])
        ):
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.TemporaryDirectory(
        prefix=f"{PREFIX}{os.getpid()}-", dir=outer, ignore_cleanup_errors=True
    )
    atexit.register(folder.cleanup)  # without the warning of one that nobody removed
    os.environ["TMPDIR"] = folder.name
    tempfile.tempdir = folder.name
    return folder


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def remove_large_files(folder: Path) -> None:
    """Remove the large files that failed tests have left in a folder."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size > LARGE_BYTES:
            path.unlink()
