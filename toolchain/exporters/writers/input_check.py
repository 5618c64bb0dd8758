"""A TorchScript file refuses what it does not take: torch would convert it and answer anyway.

ONNX files and .pt2 files declare type and shape of their input, and their runtimes compare them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from toolchain.exporters.writers.traced import traced_input_name
from toolchain.runtime.card import Card
from toolchain.runtime.onnxfile.card_match import described, expected_input

SOURCE = """
def require_input(given: Tensor, floats: bool, batch: int, shape: List[int], taken: str) -> Tensor:
    kind = 0
    if floats:
        kind = 6
    right = given.dtype == kind and given.dim() == 4
    if right:
        right = given.shape[1:] == shape and (batch == 0 or given.shape[0] == batch)
    if not right:
        held = "integers of another type"
        if given.is_floating_point():
            held = "floating-point numbers"
        if given.dtype == 0:
            held = "uint8"
        if given.dtype == 6:
            held = "float32"
        raise ValueError("this model takes {}; it was given {} of shape {}".format(
            taken, held, given.shape))
    return given
"""
"""TorchScript, compiled from text, so that the file names no source of this machine. 0 and 6 are
torch's numbers of uint8 and float32, which files keep for good."""


class InputCheck(nn.Module):
    """A traced module that raises a ValueError for an input of another type or shape."""

    def __init__(self, module: nn.Module, card: Card) -> None:
        super().__init__()
        self.module = module
        expected = expected_input(card)
        self.terms = (
            traced_input_name(card) == "tensor",
            card.batch or 0,
            [axis for axis in expected.shape[1:] if isinstance(axis, int)],
            described(expected),
        )

    def forward(self, given: Tensor) -> Any:
        """Return what the module computes of an input that it takes."""
        return self.module(_compiled().require_input(given, *self.terms))


@cache
def _compiled() -> Any:
    return torch.jit.CompilationUnit(SOURCE)
