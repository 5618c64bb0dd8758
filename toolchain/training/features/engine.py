"""The fastest backend for features on this machine: onnxruntime on a CPU, else torch."""

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

from toolchain.errors import MissingExtraError
from toolchain.runtime.cores import usable_cores
from toolchain.runtime.onnxruntime_import import import_onnxruntime
from toolchain.training.optim.precision import to_memory_format

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Computes features float32 [batch, …] of pixels uint8 [batch, size, size, 3]."""


@dataclass(frozen=True)
class Engine:
    """Computes features in batches of one size, in one or several threads."""

    run: Run
    batch: int
    """Images at once. Smaller batches are padded: kernels depend on the batch size, and an image's
    features must not depend on how many others are computed with it."""
    threads: int
    """Batches that are computed at the same time."""

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the features float32 [images, …] of at most `batch` images."""
        padding = np.repeat(pixels[-1:], self.batch - len(pixels), axis=0)
        return self.run(np.concatenate([pixels, padding]))[: len(pixels)]


ENGINE_TOLERANCE = 1e-3
"""Largest allowed difference from torch, relative to the largest feature; rounding to float16 is of
the same order."""


def fastest_engine(backbone: nn.Module, size: int, device: torch.device) -> Engine:
    """Return onnxruntime on a CPU where it is installed and agrees with torch; else torch.

    `size` is the side of the input in pixels.
    """
    if device.type == "cpu":
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8, generator=generator)
        engine = _onnxruntime_engine(backbone, pixels)
        if engine is not None:
            with torch.inference_mode():
                expected = backbone(pixels).numpy()
            difference = np.abs(engine(pixels.numpy()) - expected).max()
            if difference <= ENGINE_TOLERANCE * max(1.0, float(np.abs(expected).max())):
                return engine
    return _torch_engine(backbone, device)


def _onnxruntime_engine(backbone: nn.Module, example: Tensor) -> Engine | None:
    """Return an engine that runs onnxruntime; None without it, or where the export fails."""
    try:
        onnxruntime = import_onnxruntime()
    except MissingExtraError:
        return None
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            # The TorchScript-based exporter takes a fifth of the time of the newer one; the caller
            # compares the result with torch.
            torch.onnx.export(
                backbone,
                (example,),
                file,  # type: ignore[arg-type]  # this exporter accepts a stream
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

    # A session thread for each core, each with a batch of its own, is faster than all on one batch.
    return Engine(run, batch=4, threads=usable_cores())


def _torch_engine(backbone: nn.Module, device: torch.device) -> Engine:
    network = to_memory_format(copy.deepcopy(backbone), torch.channels_last)

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            features: NDArray[np.float32] = (
                network(torch.from_numpy(pixels).to(device)).float().cpu().numpy()
            )
        return features

    return Engine(run, batch=32, threads=1)
