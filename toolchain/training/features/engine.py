"""The fastest way from pixels to features on this machine: onnxruntime on a CPU, else torch."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toolchain.networks.split import FrozenBackbone
from toolchain.runtime.cores import usable_cores
from toolchain.training.optim.precision import to_memory_format

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Features float32 [batch, …] of pixels uint8 [batch, size, size, 3]."""


@dataclass(frozen=True)
class Engine:
    """What computes features, and how it is best fed."""

    run: Run
    batch: int
    """Images at once. Always so many: kernels differ by it, and a row must not depend on that."""
    threads: int
    """Batches at the same time."""

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features of at most `batch` images."""
        writing = np.repeat(pixels[-1:], self.batch - len(pixels), axis=0)
        return self.run(np.concatenate([pixels, writing]))[: len(pixels)]


ENGINE_TOLERANCE = 1e-3
"""Largest difference from torch, relative to the largest feature; float16 keeps less than that."""


def fastest_engine(prefix: FrozenBackbone, size: int, device: torch.device) -> Engine:
    """Return onnxruntime on a CPU where it is installed and agrees with torch; else torch."""
    if device.type == "cpu":
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8, generator=generator)
        engine = _onnxruntime_engine(prefix, pixels)
        if engine is not None:
            with torch.inference_mode():
                expected = prefix(pixels).numpy()
            difference = np.abs(engine(pixels.numpy()) - expected).max()
            if difference <= ENGINE_TOLERANCE * max(1.0, float(np.abs(expected).max())):
                return engine
    return _torch_engine(prefix, device)


def _onnxruntime_engine(prefix: FrozenBackbone, example: Tensor) -> Engine | None:
    """Return an engine of one thread; None where onnxruntime or torch's exporter won't."""
    try:
        import onnxruntime
    except ImportError:
        return None
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # The older exporter: a fifth of the time of the other, and what it says is checked.
            torch.onnx.export(
                prefix,
                (example,),
                file,  # type: ignore[arg-type]  # a stream is what this exporter takes
                dynamo=False,
                opset_version=18,
                input_names=["pixels"],
                output_names=["features"],
                dynamic_axes={"pixels": {0: "batch"}, "features": {0: "batch"}},
            )
        except (RuntimeError, TypeError, ImportError):
            return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        file.getvalue(), options, providers=["CPUExecutionProvider"]
    )

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = session.run(None, {"pixels": pixels})[0]
        return features

    # One thread a core, each with a batch of its own, is faster than all cores on one.
    return Engine(run, batch=4, threads=usable_cores())


def _torch_engine(prefix: nn.Module, device: torch.device) -> Engine:
    network = to_memory_format(copy.deepcopy(prefix), torch.channels_last)

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            features: NDArray[np.float32] = (
                network(torch.from_numpy(pixels).to(device)).float().cpu().numpy()
            )
        return features

    return Engine(run, batch=32, threads=1)
