"""The network alone, from tensor to logits: OpenVINO's benchmark_app beside `rtl bench`.

Both measure ResNet-18 in fp32, one image at a time, on all cores, and state the median latency.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from benchmarks.peers import models
from benchmarks.peers.environment import CanNotRunError
from benchmarks.peers.session import Session

SECONDS = "5"
FIRST = "rtl bench"
Measure = Callable[[Session], float]


def run(session: Session, rounds: int) -> None:
    """Measure in turn, in alternating order, and append the rows."""
    reasons = models.make_models(session) if session.versions else {}
    for number in range(1, rounds + 1):
        for who, (measure, package) in list(SUBJECTS.items())[:: 1 if number % 2 else -1]:
            row = session.row("inference", who, round=number)
            try:
                session.require((package,))
                if models.ONNX in reasons:
                    raise CanNotRunError(reasons[models.ONNX])
                row["median_ms"] = measure(session)
            except CanNotRunError as error:
                row["skipped"] = str(error)
            session.append(row)


def rtl_bench(session: Session, provider: str = "cpu") -> float:
    """Return the median in ms that `rtl bench` states."""
    model = session.material.models / models.RTL
    command = ["rtl", "bench", str(model), "--batch-size", "1", "--json", "--quiet", "--no-eager"]
    options = ["--seconds", SECONDS, "--provider", provider]
    return float(json.loads(session.process([*command, *options]).output)["results"][0]["p50_ms"])


def rtl_bench_openvino(session: Session) -> float:
    """Return the median in ms that `rtl bench --provider openvino` states."""
    return rtl_bench(session, "openvino")


def benchmark_app(session: Session) -> float:
    """Return the median in ms that benchmark_app prints."""
    model = session.material.models / models.ONNX
    command = ["benchmark_app", "-m", str(model), "-d", "CPU", "-shape", "[1,3,224,224]"]
    options = ["-hint", "latency", "-infer_precision", "f32", "-t", SECONDS]
    found = re.search(r"Median:\s+([\d.]+) ms", session.process([*command, *options]).output)
    if found is None:
        raise CanNotRunError("benchmark_app printed no median")
    return float(found[1])


SUBJECTS: dict[str, tuple[Measure, str]] = {
    FIRST: (rtl_bench, "rtl-toolchain"),
    "rtl bench --provider openvino": (rtl_bench_openvino, "onnxruntime-ep-openvino"),
    "OpenVINO benchmark_app": (benchmark_app, "openvino"),
}
