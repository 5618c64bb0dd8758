"""Where an exported model file goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from toolchain.errors import DataError
from toolchain.exporters.variants import Variant
from toolchain.files import require_writable
from toolchain.runs.runfolder import RunFolder, model_name

MODEL_SUFFIXES = (".onnx", ".pt", ".pt2")


def destinations(
    run: RunFolder, variants: Sequence[Variant], output: str | os.PathLike[str] | None
) -> list[Path]:
    """Return the path of each variant's file.

    `output` is a folder, or for one variant a file; None is `export/` in the run folder. Raises
    DataError where one file is named for several variants, and for what can't be written.
    """
    folder = run.export if output is None else Path(output)
    if output is not None and folder.suffix in MODEL_SUFFIXES and not folder.is_dir():
        if len(variants) > 1:
            raise DataError(f"{folder} names one file, and {len(variants)} were asked for")
        paths = [folder]
    else:
        paths = [folder / model_name(v.format, v.precision, v.input) for v in variants]
    for path in paths:
        require_writable(path)
    return paths
