"""One target in a process of its own: `python -m toolchain.benchmarking.processes.worker`.

Requests come as JSON lines on standard input, replies go to standard output. A process for each
target gives a peak memory that is the target's own, and keeps its idle threads from taking time
from the other targets.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TextIO

import msgspec
import numpy as np

from toolchain.backends.backend import Backend, open_backend
from toolchain.backends.outputs import run_in_batches
from toolchain.benchmarking.figures.conditions import small_work_ms
from toolchain.benchmarking.processes.memory import peak_memory_mb
from toolchain.benchmarking.processes.profile import flops_of_image
from toolchain.benchmarking.processes.stages import MeasuredStages, measure_stages
from toolchain.benchmarking.scenarios.loadgen import run_loadgen
from toolchain.benchmarking.scenarios.plan import LoadgenRun, Plan
from toolchain.errors import ToolchainError
from toolchain.runtime.card import Card
from toolchain.runtime.model_inputs import Pixels
from toolchain.runtime.predictor import Predictor
from toolchain.runtime.selftest import generated_pixels

KEEP_WARM_S = 0.05
"""Between two calls that keep a model warm: shorter than any gap worth measuring."""


class Open(msgspec.Struct, tag=True):
    """Request: open a model file, or where `eager` is true the trained model of a run folder."""

    path: str
    eager: bool
    provider: str
    threads: int
    spin: bool = False
    """Whether onnxruntime's threads wait for work in a busy loop."""
    pixels: str | None = None
    """A .npy file of pixels uint8 [images, size, size, 3], which the model is asked about too."""


class Measure(msgspec.Struct, tag=True):
    """Request: call the model on batches of one size for some seconds."""

    batch_size: int
    seconds: float
    fewest: int = 3
    """Calls that are made however slow they are: a median of fewer than three means nothing."""


class MeasureIdle(msgspec.Struct, tag=True):
    """Request: call the model a number of times, each after a pause."""

    batch_size: int
    calls: int
    pause_s: float
    keep_warm: bool
    """Whether the model is called during the pause too, every KEEP_WARM_S."""


class Answer(msgspec.Struct, tag=True):
    """Request: the answers for a batch that was measured, once more."""

    batch_size: int


class MeasureStages(msgspec.Struct, tag=True):
    """Request: take an image from its file to its label for some seconds, stage by stage."""

    model: str
    image: str
    seconds: float
    threads: int
    on_cpu: bool
    """Whether onnxruntime's own kernels compute it, whose time of softmax its profile knows."""


class CountOperations(msgspec.Struct, tag=True):
    """Request: count the operations of an image in an ONNX file."""

    model: str


class RunScenario(msgspec.Struct, tag=True):
    """Request: run a test of LoadGen, which writes its logs into a folder."""

    plan: Plan
    folder: str


class Counted(msgspec.Struct, tag=True):
    """Reply: floating-point operations of an image."""

    flops: float


class Opened(msgspec.Struct, tag=True):
    """Reply: the model is open, with its card.

    Outputs are the bytes of little-endian float32 [inputs, classes]: for generated inputs, and
    after these for the pixels that were sent, where they have the size that the model takes.
    """

    load_ms: float
    card: Card
    classes: int
    probabilities: bytes
    logits: bytes
    choice: str | None = None
    """What the provider `auto` has taken, and why."""


class Measured(msgspec.Struct, tag=True):
    """Reply: latencies of the calls, and the peak memory of the process."""

    latencies_ms: list[float]
    peak_memory_mb: float | None
    processor_s: float = 0.0
    """Time of the cores that the calls took, on all threads of the process."""
    work_ms: float = 0.0
    """Processor time of the same small work after the calls (`conditions.py`)."""


class Answered(msgspec.Struct, tag=True):
    """Reply: the logits of a batch, the bytes of little-endian float32 [batch, classes]."""

    logits: bytes


class Failed(msgspec.Struct, tag=True):
    """Reply: a ToolchainError, by the name of its class."""

    error: str
    message: str
    hint: str | None


OfModel = Measure | MeasureIdle | Answer | MeasureStages | CountOperations | RunScenario
"""Requests about the model that is open."""
Request = Open | OfModel
Reply = Opened | Measured | Answered | MeasuredStages | Counted | LoadgenRun | Failed


def serve(requests: TextIO, replies: TextIO) -> None:
    """Answer each request, a JSON line, with a reply, a JSON line, until the input ends."""
    decoder = msgspec.json.Decoder(Request)
    backend: Backend | None = None
    for line in requests:
        request = decoder.decode(line)
        reply: Reply
        try:
            if isinstance(request, Open):
                backend, reply = _open(request)
            else:
                assert backend is not None
                reply = _reply(backend, request)
        except ToolchainError as error:
            reply = Failed(type(error).__name__, str(error), error.hint)
        replies.write(msgspec.json.encode(reply).decode() + "\n")
        replies.flush()


def _reply(backend: Backend, request: OfModel) -> Reply:
    if isinstance(request, Measure):
        return _measure(backend, request)
    if isinstance(request, MeasureIdle):
        return _measure_idle(backend, request)
    if isinstance(request, MeasureStages):
        model, image = Path(request.model), Path(request.image)
        threads = request.threads if request.on_cpu else None
        return measure_stages(backend, model, image, request.seconds, threads)
    if isinstance(request, CountOperations):
        return Counted(flops_of_image(Path(request.model), backend.card))
    if isinstance(request, RunScenario):
        return run_loadgen(backend, request.plan, Path(request.folder))
    logits = backend.run(_batch(backend, request.batch_size)).logits
    return Answered(logits.astype("<f4").tobytes())


def _open(request: Open) -> tuple[Backend, Opened]:
    started = time.perf_counter()
    backend = _open_eager(request) if request.eager else _open_file(request)
    load_ms = (time.perf_counter() - started) * 1e3
    probabilities, logits = run_in_batches(backend, _questions(request, backend.card))
    return backend, Opened(
        load_ms,
        backend.card,
        logits.shape[1],
        probabilities.astype("<f4").tobytes(),
        logits.astype("<f4").tobytes(),
        _choice(backend),
    )


def _choice(backend: Backend) -> str | None:
    """Return what the provider `auto` has taken, and why; None for other providers."""
    if not isinstance(backend, Predictor) or backend.provider_choice is None:
        return None
    return str(backend.provider_choice)


def _questions(request: Open, card: Card) -> Pixels:
    """Return the generated inputs, and the pixels that were sent where they have the same size."""
    generated = generated_pixels(card.preprocessing.size)
    if request.pixels is None:
        return generated
    sent: Pixels = np.load(request.pixels, allow_pickle=False)
    return np.concatenate([generated, sent]) if sent.shape[1:] == generated.shape[1:] else generated


def _open_file(request: Open) -> Backend:
    return open_backend(
        request.path, provider=request.provider, threads=request.threads, spin=request.spin
    )


def _open_eager(request: Open) -> Backend:
    from toolchain.backends.torch_eager import EagerBackend
    from toolchain.runs.trained_run import TrainedRun

    _set_torch_threads(request.threads)
    from toolchain.networks.device import torch_device

    run = TrainedRun.open(request.path)
    return EagerBackend(run.classifier.to(torch_device(request.provider)), run.card)


def _set_torch_threads(threads: int) -> None:
    from toolchain.networks.torchvision_import import import_torchvision

    import_torchvision()  # raises MissingExtraError where torch is not installed
    import torch

    torch.set_num_threads(threads)


def _measure(backend: Backend, request: Measure) -> Measured:
    pixels = _batch(backend, request.batch_size)
    latencies: list[float] = []
    processor_s = time.process_time()
    deadline = time.perf_counter() + request.seconds
    while len(latencies) < request.fewest or time.perf_counter() < deadline:
        latencies.append(_call_ms(backend, pixels))
    processor_s = time.process_time() - processor_s
    return Measured(latencies, peak_memory_mb(), processor_s, small_work_ms())


def _measure_idle(backend: Backend, request: MeasureIdle) -> Measured:
    pixels = _batch(backend, request.batch_size)
    backend.run(pixels)
    latencies: list[float] = []
    for _ in range(request.calls):
        deadline = time.perf_counter() + request.pause_s
        while request.keep_warm and time.perf_counter() + KEEP_WARM_S < deadline:
            time.sleep(KEEP_WARM_S)
            backend.run(pixels)
        time.sleep(max(0.0, deadline - time.perf_counter()))
        latencies.append(_call_ms(backend, pixels))
    return Measured(latencies, peak_memory_mb())


def _batch(backend: Backend, size: int) -> Pixels:
    generated = generated_pixels(backend.card.preprocessing.size)
    return np.resize(generated, (size, *generated.shape[1:]))


def _call_ms(backend: Backend, pixels: Pixels) -> float:
    started = time.perf_counter_ns()
    backend.run(pixels)  # returns numpy arrays, so a GPU has finished when it returns
    return (time.perf_counter_ns() - started) / 1e6


def main() -> None:
    """Serve on standard input and output; anything else that prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, replies)


if __name__ == "__main__":
    main()
