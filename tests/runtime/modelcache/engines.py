"""Helpers for the tests of the model cache, and a model with weights of some size."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from tests.runtime.tiny import SIDE, tiny_model, weight, write
from toolchain import Predictor

WIDTH = 4096
PIXELS = np.random.default_rng(7).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)


def large_model(path: Path, bias: float = 0) -> Path:
    """Write a tiny model with a layer large enough for the separate file of weights."""
    model = tiny_model()
    up = np.linspace(-1, 1, 3 * WIDTH, dtype=np.float32).reshape(3, WIDTH) / 64
    down = np.linspace(-1, 2, 3 * WIDTH, dtype=np.float32).reshape(WIDTH, 3)
    weights = {w.name: w for w in model.graph.initializer}
    weights["weight"].CopyFrom(weight("weight", down))
    weights["bias"].CopyFrom(weight("bias", np.array([bias, 0, 0], np.float32)))
    model.graph.initializer.append(weight("up", up))
    place = next(i for i, node in enumerate(model.graph.node) if node.op_type == "Gemm")
    model.graph.node[place].input[0] = "wide"
    model.graph.node.insert(place, helper.make_node("MatMul", ["row", "up"], ["wide"]))
    return write(model, path)


def logits_of(path: Path, **options: Any) -> NDArray[np.float32]:
    """Return the logits of PIXELS from a new predictor."""
    with Predictor(path, **options) as predictor:
        return predictor.run(PIXELS)[1]


class Kept(NamedTuple):
    """A model with an entry, and its logits of PIXELS without the cache."""

    model: Path
    entry: Path
    expected: NDArray[np.float32]


def assert_no_entry(cache: Path) -> None:
    assert not list(cache.glob("engines/*/entry.json"))
    assert not list(cache.glob("engines/.*")), "a temporary folder was left"


def flip_bit(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)


def set_version(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the version of rtl in all modules that have imported it."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "toolchain" and hasattr(module, "__version__"):
            monkeypatch.setattr(module, "__version__", version)
