"""One cold start: `python -m toolchain.benchmarking.processes.first_label`, and six words.

KIND MODEL IMAGE PROVIDER THREADS SPIN, where KIND is `onnx`, or `torch` for what torch computes.
Nothing is imported before the clock runs but what Python needs, and the shell of this package.
"""

from __future__ import annotations

import itertools
import sys
import time
from typing import Any

STARTED = time.perf_counter()


def main() -> None:
    """Open the model, say the label of the image, and print how long each step took as JSON."""
    kind, model, image, provider, threads, spin = sys.argv[1:]
    open_model, label_of = _imported(kind)
    marks = [STARTED, time.perf_counter()]
    opened = open_model(model, provider=provider, threads=int(threads), spin=spin == "1")
    marks.append(time.perf_counter())
    label_of(opened, image)
    marks.append(time.perf_counter())
    steps_ms = [(after - before) * 1e3 for before, after in itertools.pairwise(marks)]
    sys.stdout.write(_reply(steps_ms))
    sys.stdout.flush()


def _imported(kind: str) -> tuple[Any, Any]:
    """Return (what opens a model, what says the labels of an image with it), after the imports."""
    if kind == "onnx":
        from toolchain.runtime.onnxruntime_import import import_onnxruntime
        from toolchain.runtime.predictor import Predictor

        import_onnxruntime()
        return Predictor, lambda predictor, image: predictor(image).labels
    from toolchain.backends.backend import open_backend
    from toolchain.benchmarking.processes.stages import label_of
    from toolchain.extras import import_extra

    import_extra("torch")
    return open_backend, label_of


def _reply(steps_ms: list[float]) -> str:
    import json

    from toolchain.benchmarking.processes.memory import peak_memory_mb

    names = ("import_ms", "open_ms", "first_label_ms")
    return json.dumps(
        dict(zip(names, steps_ms, strict=True)) | {"peak_memory_mb": peak_memory_mb()}
    )


if __name__ == "__main__":
    from toolchain.errors import ToolchainError

    try:
        main()
    except ToolchainError as error:
        sys.exit(str(error))
