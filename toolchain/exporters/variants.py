"""What can be exported: format × precision × input kind, and which combinations exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.runtime.card import Format, InputKind, Precision

OPSETS = {18: ("1.15", 8), 19: ("1.16", 9), 20: ("1.17", 9), 21: ("1.18", 10)}
"""Opset → (oldest onnxruntime, IR version of the file).

The first is the oldest onnxruntime that opens a file of this opset and computes the same logits. It
is the same for every input kind and precision, as tests/slow/onnxruntime_versions.py measured, from
1.15 on, which is the oldest for Python 3.11. The IR version is set because onnx writes its newest,
which older onnxruntimes refuse although they can run the graph."""
OPSET = 18
"""The opset that is written by default."""


@dataclass(frozen=True)
class Variant:
    """One kind of model file."""

    format: Format = "onnx"
    precision: Precision = "fp32"
    input: InputKind = "pixels"
    batch: int | None = None
    """The only batch size that the file takes; None for any."""
    opset: int = OPSET

    def __post_init__(self) -> None:
        """Raise ValueError, which names what exists, for a combination that does not."""
        if self.format != "onnx" and self.precision != "fp32":
            raise ValueError(f"{self.precision} is for onnx; {self.format} is fp32 only")
        if self.format != "onnx" and self.input == "image":
            raise ValueError(f"the input `image` is for onnx; {self.format} takes pixels or tensor")
        if self.input == "image" and self.batch not in (None, 1):
            raise ValueError("the input `image` takes one image at a time; leave --batch away")
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"a batch of {self.batch}: at least 1, or None for any")
        if self.opset not in OPSETS:
            raise ValueError(f"opset {self.opset}: rtl writes {', '.join(map(str, OPSETS))}")


def variants(
    formats: Sequence[Format],
    precisions: Sequence[Precision],
    inputs: Sequence[InputKind],
    *,
    batch: int | None = None,
    opset: int = OPSET,
) -> list[Variant]:
    """Return every combination, each once; ValueError where one of them does not exist."""
    return [
        Variant(f, p, i, batch=batch, opset=opset)
        for f in dict.fromkeys(formats)
        for p in dict.fromkeys(precisions)
        for i in dict.fromkeys(inputs)
    ]
