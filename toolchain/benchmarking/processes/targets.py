"""What is measured: model files and torch eager, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec
import numpy as np

from toolchain import errors
from toolchain.benchmarking.figures.case_name import CaseKey
from toolchain.benchmarking.processes.stages import MeasuredStages
from toolchain.benchmarking.processes.worker import (
    Answer,
    Answered,
    Counted,
    CountOperations,
    Failed,
    Measure,
    Measured,
    MeasureIdle,
    MeasureStages,
    Open,
    Opened,
    Reply,
    Request,
    RunScenario,
)
from toolchain.benchmarking.scenarios.plan import LoadgenRun, Plan
from toolchain.errors import RefusedError, ToolchainError
from toolchain.openmp import user_environment
from toolchain.runtime.model_inputs import Floats


@dataclass(frozen=True)
class Target:
    """A model file or torch eager, on one provider with a number of threads."""

    name: str
    path: Path
    """The model file; for torch eager the run folder."""
    eager: bool
    provider: str
    threads: int
    spin: bool = False
    """Whether onnxruntime's threads wait for work in a busy loop."""
    of_run: bool = False
    """Whether a run folder was named that it is one of the exports of, and not the file itself."""
    is_reference: bool = False
    """Whether it is the model that the others are put beside."""

    def case(self, batch_size: int) -> CaseKey:
        """Return what tells this target at a batch size apart from the other cases."""
        return CaseKey(self.name, self.provider, self.threads, self.spin, batch_size)


class TargetProcess:
    """A worker process that holds one target; a context manager that ends the process."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed on exit, as the process)
        # -P keeps a folder named toolchain in the user's working directory out of the way.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "toolchain.benchmarking.processes.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=user_environment(),
        )

    def open(self, pixels: Path | None = None) -> Opened:
        """Open the model in the worker; raises the ToolchainError that opening it raised there.

        `pixels` is a .npy file of inputs whose outputs are to be compared.
        """
        target = self.target
        asked = None if pixels is None else str(pixels)
        request = Open(
            str(target.path), target.eager, target.provider, target.threads, target.spin, asked
        )
        reply = self._ask(request)
        assert isinstance(reply, Opened)
        return reply

    def measure(self, batch_size: int, seconds: float, *, fewest: int = 3) -> Measured:
        """Return the latencies of calls over `seconds` seconds, of `fewest` calls at least."""
        reply = self._ask(Measure(batch_size, seconds, fewest))
        assert isinstance(reply, Measured)
        return reply

    def measure_idle(
        self, batch_size: int, calls: int, pause_s: float, *, keep_warm: bool
    ) -> list[float]:
        """Return the latencies in ms of calls after pauses of `pause_s` seconds."""
        reply = self._ask(MeasureIdle(batch_size, calls, pause_s, keep_warm))
        assert isinstance(reply, Measured)
        return reply.latencies_ms

    def answer(self, batch_size: int) -> Floats:
        """Return the logits float32 [batch, classes] of the batch that `measure` calls it with."""
        reply = self._ask(Answer(batch_size))
        assert isinstance(reply, Answered)
        return np.frombuffer(reply.logits, dtype="<f4").reshape(batch_size, -1)

    def stages(self, image: Path, seconds: float) -> MeasuredStages:
        """Return the latencies of the stages from an image's file to its label."""
        target = self.target
        on_cpu = target.provider.lower() == "cpu"
        reply = self._ask(
            MeasureStages(str(target.path), str(image), seconds, target.threads, on_cpu)
        )
        assert isinstance(reply, MeasuredStages)
        return reply

    def flops_of_image(self) -> float:
        """Return the floating-point operations of an image, of an ONNX file."""
        reply = self._ask(CountOperations(str(self.target.path)))
        assert isinstance(reply, Counted)
        return reply.flops

    def run_scenario(self, plan: Plan, folder: Path) -> LoadgenRun:
        """Return what LoadGen says of a run on the model; its logs go to a folder in `folder`."""
        logs = tempfile.mkdtemp(dir=folder)
        reply = self._ask(RunScenario(plan, logs))
        assert isinstance(reply, LoadgenRun)
        return reply

    def __enter__(self) -> TargetProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def _ask(self, request: Request) -> Reply:
        """Send a request and return the reply; RefusedError where the worker has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(msgspec.json.encode(request).decode() + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise RefusedError(
                f"{self.target.name} ended with status {code} while it was measured"
                f"{self._last_error_line()}",
                hint="it may have run out of memory; try a smaller --batch-size",
            )
        reply: Reply = msgspec.json.decode(line, type=Reply)
        if isinstance(reply, Failed):
            kind = getattr(errors, reply.error, ToolchainError)
            failure = ToolchainError.__new__(kind)
            ToolchainError.__init__(failure, reply.message, hint=reply.hint)
            raise failure
        return reply

    def _last_error_line(self) -> str:
        """Return `: ` and the last line that the process wrote to standard error, if any."""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""
