"""A folder in which commands run, each in its own process, and can be killed at any moment."""

from __future__ import annotations

import functools
import gc
import hashlib
import importlib
import itertools
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, NoReturn

from tests.conftest import RANDOM_WEIGHTS
from toolchain.cli.main import run_command
from toolchain.networks.torchvision_import import import_torchvision

# Loading torch takes seconds. So the processes of these tests are forked from a server that has
# loaded it once: it imports this module, which imports torchvision, and the commands.
import_torchvision()
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        __name__,
        "toolchain.training.finetune",
        "toolchain.evaluation.evaluate",
        "onnx",
        "onnxruntime",
        "torchmetrics",
    ]
)

PATIENCE_S = 300
"""How long processes wait for each other: a machine with other work is slow at times."""

Fault = Callable[[], None]
"""Called in a process before its command, to make something fail later."""


class Ended(NamedTuple):
    """The exit status and output of a command; the status of a killed process is -9."""

    status: int
    output: str

    @property
    def hint(self) -> str:
        """The last hint, '' without one."""
        hints = [line for line in self.output.splitlines() if line.startswith("hint: ")]
        return hints[-1].removeprefix("hint: ") if hints else ""


class Outcome(NamedTuple):
    """The results of a run that must not depend on whether it was stopped."""

    weights: str
    metrics: list[dict[str, Any]]
    files: list[str]


def outcome(run: Path) -> Outcome:
    """Return the outcome of a finished run."""
    weights = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for row in metrics:
        row.pop("seconds", None)
    return Outcome(weights, metrics, sorted(file.name for file in run.iterdir()))


class Running(NamedTuple):
    """A command that was started."""

    process: multiprocessing.process.BaseProcess
    log: Path

    def ended(self) -> Ended:
        """Wait for the command to end, and return how it ended."""
        self.process.join(2 * PATIENCE_S)
        assert self.process.exitcode is not None, f"still running: {self.log.read_text()}"
        return Ended(self.process.exitcode, self.log.read_text())


class Sandbox:
    """A folder with its own cache, in which commands run, each in its own process."""

    finished: ClassVar[dict[tuple[str, ...], Outcome]] = {}
    """Outcomes of uninterrupted runs by their arguments, which all sandboxes share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.logs = (folder / f"log-{number}" for number in itertools.count())

    def start(self, *words: object, faults: Sequence[Fault] = ()) -> Running:
        log = next(self.logs)
        arguments = ([str(word) for word in words], faults, self.folder, log)
        process = SERVER.Process(target=run_in_process, args=arguments)
        process.start()
        return Running(process, log)

    def rtl(self, *words: object, faults: Sequence[Fault] = ()) -> Ended:
        return self.start(*words, faults=faults).ended()

    def finetune(self, *words: object, faults: Sequence[Fault] = (), output: str) -> Ended:
        return self.rtl("finetune", *words, "-o", output, faults=faults)

    def resume(self, run: str, *words: object, faults: Sequence[Fault] = ()) -> Ended:
        return self.rtl("finetune", "--resume", run, *words, faults=faults)

    def never_stopped(self, *words: object) -> Outcome:
        """Return the outcome of an uninterrupted run with these arguments; it is trained once."""
        key = tuple(str(word) for word in words)
        if key not in self.finished:
            name = f"whole-{len(self.finished)}"
            ended = self.finetune(*words, faults=[checkpoint_after()], output=name)
            assert ended.status == 0, ended.output
            self.finished[key] = outcome(self.folder / name)
        return self.finished[key]


def run_in_process(words: list[str], faults: Sequence[Fault], folder: Path, log: Path) -> NoReturn:
    """Run a command in this process as if a shell had started it."""
    gc.freeze()  # all that the server has imported
    multiprocessing.set_start_method("fork", force=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()  # a group of its own, as a shell gives each command
    os.chdir(folder)
    os.environ["RTL_CACHE_DIR"] = str(folder / "cache")
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    for fault in (skip_plots, *faults):
        fault()
    sys.exit(run_command(words))


def skip_plots() -> None:
    """Write empty plots: drawing takes half the time of a short run, and other tests check it."""
    for name in ("training.analysis.plots:draw_curves", "metrics.confusion_plot:draw_confusion"):
        replace(f"toolchain.{name}", lambda _: lambda *given: given[-1].touch())


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def replace(where: str, new: Callable[[Any], Any]) -> None:
    """Replace the object at `module:name.name` by new(object)."""
    module, _, path = where.partition(":")
    owner: Any = importlib.import_module(module)
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    setattr(owner, name, new(getattr(owner, name)))


def at_call(where: str, number: int, action: Fault, *, after: bool = False) -> None:
    """Run an action at the n-th call of a function, before it or after it."""
    calls = itertools.count(1)

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            now = next(calls) == number
            if now and not after:
                action()
            result = function(*arguments, **options)
            if now and after:
                action()
            return result

        return call

    replace(where, watched)


def killed_at(where: str, number: int = 1, *, after: bool = False) -> Fault:
    return partial(at_call, where, number, kill, after=after)


def killed_in_step(number: int) -> Fault:
    """Kill the process in its n-th training step."""
    return killed_at("toolchain.training.loop:Stepper.update", number)


def write_half(name: str) -> None:
    """Kill the process when half of the file of this name is written."""

    def watched(write: Callable[[Path, bytes], int]) -> Callable[[Path, bytes], int]:
        def write_bytes(path: Path, data: bytes) -> int:
            if not path.name.startswith(f".{name}."):
                return write(path, data)
            written = write(path, data[: len(data) // 2])
            kill()
            return written

        return write_bytes

    replace("pathlib:Path.write_bytes", watched)


def killed_with_half(name: str) -> Fault:
    return partial(write_half, name)


def checkpoint_after(*epochs: int) -> Fault:
    """Write checkpoints after these epochs, whatever the clock says."""
    return partial(_checkpoint_after, epochs)


def _checkpoint_after(epochs: Sequence[int]) -> None:
    numbers = itertools.count(1)
    replace(
        "toolchain.training.checkpoints:Checkpoints.due",
        lambda _: lambda _: next(numbers) in epochs,
    )


EACH_EPOCH = checkpoint_after(*range(1, 100))
SMALL = ["--size", "32", "--batch-size", "16", "--epochs", "3"]
COMMON = [*SMALL, "--weights", str(RANDOM_WEIGHTS)]
# Three steps an epoch, from features that all runs share; dropout uses the random generators.
HEAD = [*COMMON, "--strategy", "head", "--dropout", "0.4", "--augment", "none"]
PARTIAL = ["--strategy", "partial", "--freeze-until", "16"]
TWO_LAYERS = [*COMMON, *PARTIAL]


def rows_kept_at_once() -> None:
    replace("toolchain.training.features.store:FeatureWriter.KEEP_EVERY_S", lambda _: -1.0)


def wait_in_step(number: int) -> Fault:
    return partial(wait_at, "toolchain.training.loop:Stepper.update", number, "waiting")


def wait_at(where: str, number: int, file: str) -> None:
    """Make the n-th call of a function create a file and wait until it is removed."""
    at_call(where, number, partial(_wait, file))


def _wait(file: str) -> None:
    Path(file).touch()
    ends = time.monotonic() + PATIENCE_S
    while Path(file).exists() and time.monotonic() < ends:
        time.sleep(0.01)


def wait_for(file: Path) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not file.exists():
        assert time.monotonic() < ends, f"{file} was not written"
        time.sleep(0.01)


def meet(count: int) -> None:
    """Wait until this many processes have called this."""
    Path(f"met-{os.getpid()}").touch()
    ends = time.monotonic() + PATIENCE_S
    while len(list(Path().glob("met-*"))) < count and time.monotonic() < ends:
        time.sleep(0.001)


def fill_disk() -> None:
    """Limit files of this process to 10 kB: writing more fails as on a full disk."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, most))


def empty_disk() -> None:
    """Remove the limit that `fill_disk` set."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
