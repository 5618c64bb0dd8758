"""The exported files in onnxruntime: plain runs, and runs with inputs and outputs bound.

Bound pixels lie on the device before a call and outputs stay there. The stream is torch's where
torch sees the GPU, so that its events time what the device does.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.job import CannotRunError, Job, Rows
from benchmarks.gpu.model_files import PRECISIONS, require_provider
from benchmarks.gpu.timing import timed
from toolchain.runtime.card import OUTPUT_NAMES
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.model_inputs import Floats, Pixels
from toolchain.runtime.onnxruntime_import import import_onnxruntime
from toolchain.runtime.provider_names import SHORT_NAMES
from toolchain.runtime.session import open_session

Compute = Callable[[], Floats]
"""Runs a session on pixels that it has already, and returns the logits."""


def time_onnxruntime(job: Job) -> Rows:
    """Yield a row for each file, way of running it, and batch size."""
    require_provider(job.device)
    files = {name: path for name in PRECISIONS if (path := kept_file(job, name)) is not None}
    if not files:
        raise CannotRunError("there is no exported file; the part `export` was to make them")
    reference = import_onnxruntime().InferenceSession(
        str(next(iter(files.values()))), providers=[SHORT_NAMES["cpu"]]
    )
    with stream_of_torch(job.device) as stream:
        yield from timed_files(job, files, reference, stream)


def timed_files(job: Job, files: dict[str, Path], reference: Any, stream: str | None) -> Rows:
    """Yield the rows; `reference` computes what the logits are compared with, on the processor."""
    for precision, path in files.items():
        for way, session, bound in opened(job, precision, path, stream):
            for batch in job.batch_sizes:
                pixels = generated_pixels(batch, job.size)
                made = bound_call(session, pixels, job.device) if bound else None
                call, logits = made or plain_call(session, pixels)
                row = timed(call, seconds=job.seconds, images=batch, cuda=stream is not None)
                expected = reference.run(["logits"], {"pixels": pixels})[0]
                yield {
                    "engine": f"onnxruntime {precision}, {way}",
                    "batch": batch,
                    **row,
                    "off_by": float(np.abs(logits() - expected).max()),
                }


def kept_file(job: Job, precision: str) -> Path | None:
    """Return the file of a precision, one that export has refused too; None without any."""
    places = (job.model(precision), job.refused_model(precision))
    return next((path for path in places if path.is_file()), None)


def opened(
    job: Job, precision: str, path: Path, stream: str | None
) -> Iterator[tuple[str, Any, bool]]:
    """Yield (words, session, whether its inputs and outputs are bound) for each way to run."""
    if path == job.model(precision):  # one that was refused is not opened by rtl
        yield "as rtl runs it", open_session(path, provider=job.device), False
    if job.device == "cpu":
        yield "bound", bindable_session(path, job.device, {}), True
        return
    common = {"device_id": "0", **({"user_compute_stream": stream} if stream else {})}
    for tf32, words in (("1", "bound, TF32"), ("0", "bound, no TF32")):
        if precision == "fp32":
            options = {**common, "use_tf32": tf32}
            yield words, bindable_session(path, job.device, options), True
    if precision != "fp32":
        yield "bound", bindable_session(path, job.device, common), True


def bindable_session(path: Path, device: str, provider_options: dict[str, str]) -> Any:
    """Return a session on exactly one provider with these options; a fallback is an error.

    Threads and their waiting are as rtl sets them.
    """
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = usable_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if device != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    session = onnxruntime.InferenceSession(
        str(path),
        options,
        providers=[(SHORT_NAMES[device], provider_options)],
        enable_fallback=0,
    )
    if session.get_providers()[0] != SHORT_NAMES[device]:
        raise RuntimeError(f"onnxruntime opened {session.get_providers()[0]}, not {device}")
    return session


def plain_call(session: Any, pixels: Pixels) -> tuple[Callable[[], object], Compute]:
    """Return (a call from pixels in memory to outputs in memory, what returns the logits)."""

    def call() -> object:
        return session.run(list(OUTPUT_NAMES), {"pixels": pixels})

    return call, lambda: session.run(["logits"], {"pixels": pixels})[0]


def bound_call(session: Any, pixels: Pixels, device: str) -> tuple[Callable[[], object], Compute]:
    """Return (a call whose input and outputs stay on the device, what returns its logits)."""
    onnxruntime = import_onnxruntime()
    binding = session.io_binding()
    binding.bind_ortvalue_input(
        "pixels", onnxruntime.OrtValue.ortvalue_from_numpy(pixels, device, 0)
    )
    outputs = {}
    for name, shape in output_shapes(session, len(pixels)).items():
        outputs[name] = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
            shape, np.float32, device, 0
        )
        binding.bind_ortvalue_output(name, outputs[name])
    return lambda: session.run_with_iobinding(binding), lambda: outputs["logits"].numpy()


def output_shapes(session: Any, batch: int) -> dict[str, list[int]]:
    """Return the shapes of the outputs for so many images, all float32 [batch, classes]."""
    return {
        output.name: [batch, *output.shape[1:]]
        for output in session.get_outputs()
        if output.name in OUTPUT_NAMES
    }


def generated_pixels(batch: int, size: int) -> Pixels:
    """Return the same random pixels each time, uint8 [batch, size, size, 3]."""
    return np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)


@contextlib.contextmanager
def stream_of_torch(device: str) -> Iterator[str | None]:
    """Yield the address of a CUDA stream that is torch's within the block; None without a GPU.

    It is a stream of its own: the address of the default one is 0, which means none.
    """
    if device != "cuda" or importlib.util.find_spec("torch") is None:
        yield None
        return
    import torch

    if not torch.cuda.is_available():
        yield None
        return
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        yield str(stream.cuda_stream)
