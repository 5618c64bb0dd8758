"""One target in a process of its own, driven by JSON lines.

It is started as `python -m toolchain.benchmarking.worker`.

Its peak memory is then its own, and its idle threads take no time from the other contenders.
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
from toolchain.errors import ToolchainError
from toolchain.runtime.selftest import generated_pixels


class Open(msgspec.Struct, tag=True):
    """Open a model file, or the trained model of a run where `eager` is true."""

    path: str
    eager: bool
    provider: str
    threads: int


class Measure(msgspec.Struct, tag=True):
    """Call the model on batches for a while."""

    batch_size: int
    seconds: float


class Opened(msgspec.Struct, tag=True):
    """The model is open; `logits` are the float32 values [inputs, classes] of generated inputs."""

    load_ms: float
    classes: int
    logits: bytes


class Measured(msgspec.Struct, tag=True):
    """Latencies of the calls, and the most memory this process has held."""

    latencies_ms: list[float]
    peak_memory_mb: float | None


class Failed(msgspec.Struct, tag=True):
    """An error that the user should read, by the name of its class."""

    error: str
    message: str
    hint: str | None


Request = Open | Measure
Reply = Opened | Measured | Failed


def serve(requests: TextIO, replies: TextIO) -> None:
    """Answer requests, one JSON line each, until there are no more."""
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
                reply = _measure(backend, request)
        except ToolchainError as error:
            reply = Failed(type(error).__name__, str(error), error.hint)
        replies.write(msgspec.json.encode(reply).decode() + "\n")
        replies.flush()


def _open(request: Open) -> tuple[Backend, Opened]:
    started = time.perf_counter()
    backend = _open_eager(request) if request.eager else _open_file(request)
    load_ms = (time.perf_counter() - started) * 1e3
    _, logits = backend.run(generated_pixels(backend.card.preprocessing.size))
    return backend, Opened(load_ms, logits.shape[1], logits.astype("<f4").tobytes())


def _open_file(request: Open) -> Backend:
    return open_backend(request.path, provider=request.provider, threads=request.threads)


def _open_eager(request: Open) -> Backend:
    from toolchain.backends.torch_eager import EagerBackend
    from toolchain.runs.trained_run import TrainedRun

    _set_torch_threads(request.threads)
    from toolchain.networks.device import torch_device

    run = TrainedRun.open(request.path)
    return EagerBackend(run.classifier.to(torch_device(request.provider)), run.card)


def _set_torch_threads(threads: int) -> None:
    from toolchain.networks.torchvision_import import import_torchvision

    import_torchvision()  # names what is missing, where torch is not installed
    import torch

    torch.set_num_threads(threads)


def _measure(backend: Backend, request: Measure) -> Measured:
    generated = generated_pixels(backend.card.preprocessing.size)
    pixels = np.resize(generated, (request.batch_size, *generated.shape[1:]))
    latencies: list[float] = []
    # At least three calls, however slow: fewer have no median to speak of.
    deadline = time.perf_counter() + request.seconds
    while len(latencies) < 3 or time.perf_counter() < deadline:
        started = time.perf_counter_ns()
        backend.run(pixels)  # gives numpy arrays, so a GPU's work is done when it returns
        latencies.append((time.perf_counter_ns() - started) / 1e6)
    return Measured(latencies, peak_memory_mb())


def peak_memory_mb() -> float | None:
    """Return the most memory this process has held, in MB; None where the system doesn't say."""
    try:
        # ru_maxrss would include the parent's memory: Linux keeps it over fork and exec.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Serve on standard input and output; whatever else prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, replies)


if __name__ == "__main__":
    main()
