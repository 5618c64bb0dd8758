"""For which other camera a run was trained, as its folder and its card say it."""

from __future__ import annotations

import msgspec

from toolchain.runs.damage import reading
from toolchain.runs.runfolder import RunFolder
from toolchain.runtime.card import Alignment as Alignment


def read_alignment(run: RunFolder) -> Alignment | None:
    """Return what a run was aligned to; None for a run of one camera. DataError where damaged."""
    if not run.alignment.is_file():
        return None
    with reading(run.alignment):
        return msgspec.json.decode(run.alignment.read_bytes(), type=Alignment)
