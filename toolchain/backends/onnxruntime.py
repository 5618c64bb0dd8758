"""ONNX models, computed by onnxruntime: files by the predictor of the device, others in memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.runtime.cores import usable_cores
from toolchain.runtime.onnxruntime_import import import_onnxruntime
from toolchain.runtime.predictor import Predictor

if TYPE_CHECKING:
    import onnx
    from onnxruntime import InferenceSession


def open_onnx(
    path: Path, *, provider: str = "cpu", threads: int | None = None, spin: bool = False
) -> Predictor:
    """Open an ONNX file without the model cache, so that the file itself is verified or timed."""
    return Predictor(path, provider=provider, threads=threads, spin=spin, cache=False)


def session_in_memory(model: onnx.ModelProto | bytes, *, optimised: bool) -> InferenceSession:
    """Open a model that is not a file, or the bytes of one, on the CPU.

    Without onnxruntime's optimisations every tensor of the graph is computed and can be an output.
    """
    onnxruntime = import_onnxruntime()
    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    )
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 4  # onnxruntime would warn of weights that a cut graph doesn't use
    content = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
