"""What the machine did to a training, as errors that say so: a killed worker, no more memory."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import torch

from toolchain.errors import TrainingError
from toolchain.training.inputs.loading import end_workers

WORKER_ENDED = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) "
    r"(?:is killed by signal: (?P<signal>[A-Z][\w ]*)|exited unexpectedly)"
)
"""What torch says of a worker process that is gone, whatever the training process did then."""
NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "not enough memory")
LOST_CONNECTION = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""What gloo says in a process that waits for one that is gone."""


class MachineFailure(TrainingError):
    """The machine stopped the training; with `options` it may get further."""

    def __init__(self, message: str, options: str) -> None:
        """`options` are those of `rtl finetune` that may help; empty where there are none."""
        hint = f"start again with {options}" if options else None
        super().__init__(message, hint=hint)
        self.options = options


@contextlib.contextmanager
def machine_failures(*, advice: bool = True) -> Iterator[None]:
    """Raise MachineFailure for what torch raises as one of many RuntimeErrors.

    Without `advice` it names no options, for a command that does not have those of training.
    """
    try:
        yield
    except BaseException as error:
        end_workers()
        failure = _machine_failure(error)
        if failure is None:
            raise
        raise (failure if advice else MachineFailure(str(failure), "")) from error


def _machine_failure(error: BaseException) -> MachineFailure | None:
    if isinstance(error, MemoryError):
        return MachineFailure("memory ran out", "--workers 0")
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    ended = WORKER_ENDED.search(text)
    if ended is not None:
        by = f" by the signal {ended['signal'].strip()}" if ended["signal"] else ""
        ended_how = f"was killed{by}" if by else "ended"
        return MachineFailure(
            f"a worker process that reads images {ended_how}, perhaps because memory ran out",
            "--workers 1",
        )
    if isinstance(error, torch.OutOfMemoryError):
        return MachineFailure("the memory of the GPU is full", "a smaller --batch-size")
    if any(words in text for words in LOST_CONNECTION):
        return MachineFailure("another process of this training has ended", "")
    if any(words in text for words in NO_MEMORY):
        return MachineFailure("memory ran out", "a smaller --batch-size")
    return None
