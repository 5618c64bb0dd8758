"""What a user may do next: an image of their own for the first label."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from toolchain.errors import ToolchainError
from toolchain.files import display_path

ANY_IMAGE = "IMAGE"
"""Stands for an image where none is found."""


def example_image(run: str | os.PathLike[str], data: str | None, delta: Path | None = None) -> str:
    """Return an image of the data of a run, of its test or validation images where it has some.

    With a delta to the run it is one that the delta's own run has, where the delta lies in that.
    """
    from toolchain.runs.delta_run import run_with_images

    for one in [run] if delta is None else [run_with_images(run, delta), run]:
        with suppress(ToolchainError, OSError):
            if found := _image_of(one, data):
                return found
    return ANY_IMAGE


def _image_of(run: str | os.PathLike[str], data: str | None) -> str | None:
    from toolchain.data.walk import images_under
    from toolchain.runs.runfolder import RunFolder
    from toolchain.runs.stored_settings import stored_settings

    root = Path(data or stored_settings(RunFolder(run).settings).data)
    root = root.parent if root.is_file() else root
    for folder in (root / "test", root / "val", root):
        if folder.is_dir() and (found := next(iter(images_under(folder)), None)):
            return display_path(found)
    return None
