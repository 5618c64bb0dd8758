"""For which other camera a run was trained, as its folder and its card say it."""

from __future__ import annotations

import msgspec

from toolchain.runs.damage import reading
from toolchain.runs.runfolder import RunFolder
from toolchain.runtime.card import Alignment

LABELLED_PHOTOGRAPHS = "LABELLED_PHOTOGRAPHS"
"""Stands in commands for photographs of the other camera in a folder for each class."""


class LabelledFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the other camera's labelled photographs linear probes label right.

    Each was held out when it was labelled.
    """

    images: int
    source_only: int
    """By a probe that was fitted to the training images alone."""
    with_labelled: int
    """With the labelled photographs of the other folds."""
    with_statistics: int | None = None
    """And with the target's statistics in the norms; None for align none."""

    @property
    def sentence(self) -> str:
        """The figures in a line."""
        images = self.images
        parts = [
            f"training images alone {self.source_only} of {images}",
            f"with the labelled ones {self.with_labelled} of {images}",
        ]
        if self.with_statistics is not None:
            parts.append(f"with the target's statistics too {self.with_statistics} of {images}")
        return f"linear probes on the labelled photographs: {', '.join(parts)}"


class RunAlignment(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a run's alignment.json."""

    version: int = 1
    alignment: Alignment
    labelled: LabelledFigures | None = None
    """None where no photograph has a label."""


def read_alignment(run: RunFolder) -> RunAlignment | None:
    """Return what a run was aligned to; None for a run of one camera. DataError where damaged."""
    if not run.alignment.is_file():
        return None
    with reading(run.alignment):
        return msgspec.json.decode(run.alignment.read_bytes(), type=RunAlignment)
