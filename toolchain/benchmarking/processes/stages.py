"""How long each stage takes from an image's file to its label, in the process of a target.

Read the bytes, decode them, resize and crop, compute the network, softmax, make the label. In rtl's
files softmax is a node of the graph; its time is from onnxruntime's profile and is not counted in
the inference. Beside the stages the whole way is measured as a user calls it.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import numpy as np

from toolchain.backends.backend import Backend
from toolchain.benchmarking.processes.profile import softmax_ms
from toolchain.runtime.image.decode import read_image
from toolchain.runtime.image.preprocess import preprocess
from toolchain.runtime.image.read import read_bytes
from toolchain.runtime.prediction import predictions_of
from toolchain.runtime.predictor import Predictor

LEAST_CALLS = 10
WARM_UP_CALLS = 2


class MeasuredStages(msgspec.Struct, tag=True):
    """Reply: the latencies in ms of each stage, one for each image in turn."""

    read: list[float]
    decode: list[float]
    resize: list[float]
    """Without any where the graph resizes by itself."""
    network: list[float]
    """With softmax."""
    label: list[float]
    end_to_end: list[float]
    softmax_ms: float | None
    """Median of softmax's node; None where it can't be told from the network."""


def measure_stages(
    backend: Backend, model: Path, image: Path, seconds: float, threads: int | None
) -> MeasuredStages:
    """Return the latencies of an image's stages, and of the whole way, in turn for `seconds`.

    Softmax is told apart with so many `threads` of onnxruntime's own; None for other engines.
    """
    found = MeasuredStages([], [], [], [], [], [], None)
    for _ in range(WARM_UP_CALLS):
        _one_by_one(backend, image, MeasuredStages([], [], [], [], [], [], None))
    deadline = time.perf_counter() + seconds
    while len(found.read) < LEAST_CALLS or time.perf_counter() < deadline:
        _one_by_one(backend, image, found)
        started = time.perf_counter_ns()
        label_of(backend, image)
        found.end_to_end.append((time.perf_counter_ns() - started) / 1e6)
    if isinstance(backend, Predictor) and threads is not None:
        found.softmax_ms = softmax_ms(model, backend.card, threads)
    return found


def _one_by_one(backend: Backend, image: Path, found: MeasuredStages) -> None:
    """Take an image through all stages and note how long each took."""
    marks = [time.perf_counter_ns()]
    card = backend.card

    def note(latencies: list[float]) -> None:
        marks.append(time.perf_counter_ns())
        latencies.append((marks[-1] - marks[-2]) / 1e6)

    data = read_bytes(image, str(image))
    note(found.read)
    decoded = read_image(data, card.preprocessing)
    note(found.decode)
    if _resizes_itself(backend):
        assert isinstance(backend, Predictor)
        outputs = backend.compute(np.asarray(decoded))
    else:
        pixels = preprocess(decoded, card.preprocessing)
        note(found.resize)
        outputs = backend.run(pixels[None])
    note(found.network)
    _ = predictions_of(card, outputs)[0].labels
    note(found.label)


def label_of(backend: Backend, image: Path) -> tuple[str, ...]:
    """Return the labels of an image's file, as a user of the model gets them."""
    if isinstance(backend, Predictor):
        return backend(image).labels
    card = backend.card
    pixels = preprocess(read_image(image, card.preprocessing), card.preprocessing)
    return predictions_of(card, backend.run(pixels[None]))[0].labels


def _resizes_itself(backend: Backend) -> bool:
    return backend.card.input == "image" and isinstance(backend, Predictor)
