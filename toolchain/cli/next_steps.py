"""What a user may do next: an image of their own for the first label."""

from __future__ import annotations

import os
from pathlib import Path

from toolchain.errors import ToolchainError
from toolchain.files import display_path

ANY_IMAGE = "IMAGE"
"""Stands for an image where none is found."""


def example_image(run: str | os.PathLike[str], data: str | None) -> str:
    """Return an image of the data of a run, of its test or validation images where it has some."""
    from toolchain.data.walk import images_under
    from toolchain.runs.runfolder import RunFolder
    from toolchain.runs.stored_settings import stored_settings

    try:
        root = Path(data or stored_settings(RunFolder(run).settings).data)
        root = root.parent if root.is_file() else root
        for folder in (root / "test", root / "val", root):
            if folder.is_dir() and (found := next(iter(images_under(folder)), None)):
                return display_path(found)
    except (ToolchainError, OSError):
        pass
    return ANY_IMAGE
