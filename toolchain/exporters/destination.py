"""Where an exported model file goes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from toolchain.errors import DataError
from toolchain.exporters.variants import OPSET, Variant
from toolchain.files import require_writable
from toolchain.runs.runfolder import MODEL_SUFFIXES, model_name


def destinations(
    exports: Path,
    variants: Sequence[Variant],
    output: str | os.PathLike[str] | None,
    size: int | None = None,
) -> list[Path]:
    """Return the path of each variant's file; two different files never share a path.

    `output` is a folder, or for one variant a file; None is the folder `exports`, that of the
    run. `size` is the side of the network's input where it is not that of training. Raises
    DataError where one file is named for several variants, and for what can't be written.
    """
    folder = exports if output is None else Path(output)
    if output is not None and folder.suffix in MODEL_SUFFIXES and not folder.is_dir():
        if len(variants) > 1:
            raise DataError(f"{folder} names one file, and {len(variants)} were asked for")
        paths = [folder]
    else:
        paths = [folder / _name(variant, size) for variant in variants]
    for path in paths:
        require_writable(path)
    return paths


def _name(variant: Variant, size: int | None) -> str:
    """Return the name of a variant's file, in which all shows that is not the default."""
    only_onnx = variant.format == "onnx" and variant.opset != OPSET
    return model_name(
        variant.format,
        variant.precision,
        variant.input,
        batch=variant.batch,
        size=size,
        opset=variant.opset if only_onnx else None,
    )
