"""What onnxruntime's profile says of a file: operations of an image, and the time of softmax."""

from __future__ import annotations

import json
import math
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import graph_inputs
from toolchain.runtime.selftest import generated_pixels
from toolchain.runtime.session import open_session

SOFTMAX = ("Softmax", "Sigmoid")
"""What turns logits into probabilities; of several nodes in a graph it is the last."""
RUNS = 20
PRODUCTS = ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul", "QGemm")
IMAGE_SIDES = 4
"""Dimensions of a batch of images, and of the weights of a convolution."""


def flops_of_image(model: Path, card: Card) -> float:
    """Return the floating-point operations of an image: 2 for each multiplication with addition.

    Those of convolutions and matrix products, which are all but a few per cent of a network. They
    are counted from the shapes in a profile of one run of the graph as it is stored.
    """
    events, images = _profiled(model, card, threads=1, runs=1, optimisation="none")
    return sum(_flops(event["args"]) for event in events) / images


def softmax_ms(model: Path, card: Card, threads: int) -> float | None:
    """Return the median time of the node that makes probabilities, in ms; None without one."""
    events, _ = _profiled(model, card, threads=threads, runs=RUNS, optimisation="all")
    times: dict[str, list[float]] = {}
    for event in events:
        if event["args"].get("op_name") in SOFTMAX:
            times.setdefault(event["name"], []).append(event["dur"] / 1e3)
    return statistics.median(list(times.values())[-1]) if times else None


def _profiled(
    model: Path, card: Card, *, threads: int, runs: int, optimisation: str
) -> tuple[list[dict[str, Any]], int]:
    """Return (the events of nodes in some runs on the CPU, the images of one run)."""
    given, images = _one_input(card)
    with tempfile.TemporaryDirectory(prefix="rtl-profile-") as folder:
        session = open_session(
            model, threads=threads, optimisation=optimisation, profile=Path(folder) / "run"
        )
        for _ in range(runs):
            session.run(None, {card.input: given})
        events = json.loads(Path(session.end_profiling()).read_text())
    return list(_of_nodes(events)), images


def _one_input(card: Card) -> tuple[NDArray[Any], int]:
    """Return what the graph takes for one call, and the images in it."""
    pixels = generated_pixels(card.preprocessing.size)[:1]
    given, _ = next(iter(graph_inputs(pixels, card)))
    return given, 1 if card.input == "image" else len(given)


def _of_nodes(events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            yield event


def _flops(node: dict[str, Any]) -> float:
    """Return the operations of one node, from the shapes in its event."""
    name = node.get("op_name", "")
    inputs, outputs = (
        [list[int](shape) for one in node.get(key, []) for shape in one.values()]
        for key in ("input_type_shape", "output_type_shape")
    )
    if "Conv" in name:
        weights = [shape for shape in inputs if len(shape) == IMAGE_SIDES][1]
        return 2.0 * math.prod(outputs[0]) * math.prod(weights[1:])
    if name in PRODUCTS:
        return 2.0 * math.prod(outputs[0]) * inputs[0][-1]
    return 0.0
