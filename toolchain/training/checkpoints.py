"""The checkpoints of a run on disk, and the lock that keeps a run to one process.

An epoch's checkpoint is two files: `epoch-0007.safetensors` with the tensors, and
`epoch-0007.json` with the record of everything else. The record is written last and names the
SHA-256 of the tensors, so a checkpoint is whole or does not exist, whenever the process is killed.
The previous checkpoint is removed only after that. What they hold is in `trainer_state.py`.

The frozen weights never change; `start.safetensors` holds them once, and `start.json`, written
after it, their SHA-256.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load

from toolchain.display import megabytes
from toolchain.errors import TrainingError
from toolchain.files import encode_json, write_bytes
from toolchain.networks.resnet import State
from toolchain.networks.weights import weights_bytes
from toolchain.printable import shell_words
from toolchain.progress import ProgressReporter
from toolchain.runs.runfolder import RunFolder

MAX_OVERHEAD = 0.05
"""Largest share of the time that is spent on writing checkpoints, in 0…1.

An epoch from cached features can take milliseconds, so not every epoch gets a checkpoint.
"""

RECORD_BYTES = 2_000_000
"""Most that the record of a checkpoint and the small files of a run take."""


class Checkpoint(NamedTuple):
    """The state of a run after an epoch."""

    tensors: State
    record: dict[str, Any]
    """Everything that is not a tensor, as values that fit into JSON."""


@contextlib.contextmanager
def run_lock(run: RunFolder) -> Iterator[None]:
    """Hold the lock of a run while it is trained; TrainingError where another process holds it."""
    lock = FileLock(run.checkpoints / "lock", timeout=0)
    try:
        run.checkpoints.mkdir(exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise TrainingError(
            f"{run.path} is being trained by another process",
            hint="wait for it, or choose another folder with -o",
        ) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TrainingError(f"{run.path} can't be written: {reason}") from error
    try:
        yield
    finally:
        lock.release()


def state_bytes(tensors: State) -> int:
    """Return the size of tensors in bytes."""
    return sum(tensor.nbytes for tensor in tensors.values())


def resume_command(run: RunFolder, processes: int = 1) -> str:
    """Return the command that resumes a run in this many processes."""
    several = ("--processes", str(processes)) if processes > 1 else ()
    return shell_words("rtl", "finetune", "--resume", run.path, *several)


class Checkpoints:
    """The checkpoints of a run: written, found again, and the older ones removed."""

    def __init__(self, run: RunFolder) -> None:
        self.folder = run.checkpoints
        self.next_due = 0.0
        """Time by `time.monotonic` before which none is due."""
        self.reported_full = False

    def due(self) -> bool:
        """Return whether writing a checkpoint now stays within MAX_OVERHEAD."""
        return time.monotonic() >= self.next_due

    def has_room(self, tensors: State, progress: ProgressReporter) -> bool:
        """Return whether the disk has room for these tensors beside what is there.

        Where it has none, training goes on: the model's own room is reserved. This is reported
        once.
        """
        needed = state_bytes(tensors) + RECORD_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < needed and not self.reported_full:
            self.reported_full = True
            progress.message(
                f"no room for a checkpoint: it takes {megabytes(needed)}, and {megabytes(free)} "
                "are free; the best epoch is kept, but a stopped run loses those since its last one"
            )
        return free >= needed

    def save(self, epoch: int, checkpoint: Checkpoint) -> None:
        """Write the checkpoint of an epoch and remove older ones."""
        started = time.monotonic()
        data = weights_bytes(checkpoint.tensors)
        write_bytes(self._tensors_file(epoch), data, durable=True)
        digest = hashlib.sha256(data).hexdigest()
        # Python's json, because it keeps infinities and every bit of a float.
        record = {**checkpoint.record, "epoch": epoch, "sha256": digest}
        text = json.dumps({**record, "record_sha256": _record_sha256(record)})
        write_bytes(self._record_file(epoch), text.encode(), durable=True)
        for file in self.folder.glob("epoch-*"):
            if file not in (self._tensors_file(epoch), self._record_file(epoch)):
                file.unlink(missing_ok=True)
        spent = time.monotonic() - started
        self.next_due = time.monotonic() + spent / MAX_OVERHEAD

    def load(self) -> Checkpoint | None:
        """Return the newest whole checkpoint; None where there is none."""
        for file in sorted(self.folder.glob("epoch-*.json"), reverse=True):
            # A damaged or incomplete checkpoint is skipped; an older one may be whole.
            with contextlib.suppress(
                OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError
            ):
                record = dict(json.loads(file.read_text(encoding="utf-8")))
                if record.pop("record_sha256") != _record_sha256(record):
                    continue
                data = file.with_suffix(".safetensors").read_bytes()
                if hashlib.sha256(data).hexdigest() == record["sha256"]:
                    return Checkpoint(load(data), record)
        return None

    def damaged(self) -> list[str]:
        """Return the names of the files of epochs, for a message where `load` found none whole."""
        return sorted(file.name for file in self.folder.glob("epoch-*"))

    def save_start(self, frozen: State, origin: str) -> None:
        """Write the weights that training does not change, and the line about their origin."""
        weights = weights_bytes(frozen)
        record = {"origin": origin, "sha256": hashlib.sha256(weights).hexdigest()}
        write_bytes(self.folder / "start.safetensors", weights, durable=True)
        write_bytes(self.folder / "start.json", encode_json(record), durable=True)

    def load_start(self) -> tuple[State, str] | None:
        """Return what `save_start` wrote; None unless both files are whole and belong together."""
        try:
            record = json.loads((self.folder / "start.json").read_bytes())
            weights = (self.folder / "start.safetensors").read_bytes()
            if hashlib.sha256(weights).hexdigest() != record["sha256"]:
                return None
            return load(weights), record["origin"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError):
            return None

    def start_sha256(self) -> str | None:
        """Return the SHA-256 of the weights that `save_start` wrote; None where it is not kept."""
        try:
            return str(json.loads((self.folder / "start.json").read_bytes())["sha256"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _tensors_file(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04}.safetensors"

    def _record_file(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:04}.json"


def _record_sha256(record: dict[str, Any]) -> str:
    """Return the digest of a checkpoint's record, by which an edited or cut one is known."""
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()
