"""The precision in which a file stores its weights, whatever its card says.

Tools that quantise or convert a file of rtl keep its card, which then describes the file that was
changed.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from toolchain.errors import ModelFileError
from toolchain.runtime.card import Precision
from toolchain.runtime.onnxfile.protobuf import Wire, WireError
from toolchain.runtime.onnxfile.scan import MAX_FIELDS

PRECISIONS: dict[int, Precision] = {1: "fp32", 2: "int8", 3: "int8", 10: "fp16"}
"""ONNX's numbers of the types float32, uint8, int8 and float16."""

# Field numbers of onnx.proto.
GRAPH, INITIALIZERS, TENSOR_AXES, TENSOR_TYPE = 7, 5, 1, 2


def stored_precision(path: Path) -> Precision:
    """Return the precision of the weights with two axes or more in an ONNX file.

    It is int8 where some are, as layers may stay in float; fp16 where most are. Raises
    ModelFileError for a damaged file.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            graph = Wire(data, max_fields=MAX_FIELDS).message(0, len(data)).message(GRAPH)
            tensors = [] if graph is None else graph.messages(INITIALIZERS)
            found = [
                PRECISIONS.get(tensor.integer(TENSOR_TYPE))
                for tensor in tensors
                if len(tensor.integers(TENSOR_AXES)) > 1
            ]
    except (OSError, ValueError, WireError) as error:
        raise ModelFileError(f"{path} can't be opened: {error}") from error
    if "int8" in found:
        return "int8"
    return "fp16" if 2 * found.count("fp16") > len(found) else "fp32"
