"""How fast this machine multiplies matrices, by a process of its own.

That is `python -m toolchain.benchmarking.processes.peak THREADS INT8`. numpy's sgemm, and
onnxruntime's product of 8-bit integers, whose model of one node is written here because the package
onnx may not be installed. Each multiplies square matrices for a fraction of a second, and its
fastest call counts. The threads of numpy's library are set by its environment, so this is a process
of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import msgspec
import numpy as np

from toolchain.errors import RefusedError

SIDE = 1024
SECONDS = 0.2
THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
UINT8, INT8, INT32 = 2, 3, 6
"""ONNX's numbers of types."""


class Peak(msgspec.Struct, frozen=True, kw_only=True):
    """Operations a second, 2 for each multiplication with addition, on a number of threads."""

    threads: int
    sgemm_flops_per_s: float
    int8_ops_per_s: float | None = None
    """None where it was not asked for, or without onnxruntime."""


def measure_peak(threads: int, *, int8: bool) -> Peak:
    """Return the peak of this machine on so many threads; RefusedError where that fails."""
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            "-m",
            "toolchain.benchmarking.processes.peak",
            str(threads),
            str(int(int8)),
        ],
        env=os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise RefusedError(f"the peak of this machine can't be measured: {lines[-1]}")
    return msgspec.json.decode(done.stdout, type=Peak)


def main() -> None:
    """Measure on so many threads, and print a Peak as JSON."""
    threads, int8 = map(int, sys.argv[1:])
    a, b = (np.ones((SIDE, SIDE), np.float32) for _ in range(2))
    out = np.empty_like(a)
    peak = Peak(
        threads=threads,
        sgemm_flops_per_s=_per_second(lambda: np.matmul(a, b, out=out)),
        int8_ops_per_s=_int8_per_second(threads) if int8 else None,
    )
    sys.stdout.write(msgspec.json.encode(peak).decode())


def _per_second(multiply: Callable[[], object]) -> float:
    """Return the operations a second of the fastest call."""
    multiply()
    fastest_s, deadline = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < deadline:
        started = time.perf_counter()
        multiply()
        fastest_s = min(fastest_s, time.perf_counter() - started)
    return 2.0 * SIDE**3 / fastest_s


def _int8_per_second(threads: int) -> float | None:
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        product_model(SIDE), options, providers=["CPUExecutionProvider"]
    )
    a = np.ones((SIDE, SIDE), np.uint8)
    return _per_second(lambda: session.run(None, {"a": a}))


def product_model(side: int) -> bytes:
    """Return an ONNX model: y = a · b, of uint8 [side, side] and constant int8 [side, side]."""
    dimension = _field(1, _field(1, side))  # TensorShapeProto.dim, its dim_value

    def value(name: str, kind: int) -> bytes:
        tensor = _field(1, kind) + _field(2, dimension * 2)
        return _field(1, name.encode()) + _field(2, _field(1, tensor))

    weights = bytes([1]) * side**2
    constant = _field(1, side) * 2 + _field(2, INT8) + _field(8, b"b") + _field(9, weights)
    node = _field(1, b"a") + _field(1, b"b") + _field(2, b"y") + _field(4, b"MatMulInteger")
    graph = _field(1, node) + _field(2, b"product") + _field(5, constant)
    graph += _field(11, value("a", UINT8)) + _field(12, value("y", INT32))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 18))


def _field(number: int, value: int | bytes) -> bytes:
    """Return a field of a protobuf message: an integer, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])


if __name__ == "__main__":
    main()
