"""Runs that are stopped: the error that explains it, what they hold, and how they are resumed."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from toolchain.display import counted
from toolchain.errors import Interrupted, ToolchainError, TrainingError, stop_reason
from toolchain.files import NO_ROOM
from toolchain.printable import shell_words
from toolchain.runs.runfolder import RunFolder, no_run_folder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.stored_settings import stored_settings
from toolchain.training.checkpoints import Checkpoints, resume_command
from toolchain.training.machine_failures import MachineFailure
from toolchain.training.trainer import Trainer


@contextlib.contextmanager
def explain_stop(run: RunFolder, trainer: Trainer) -> Iterator[None]:
    """Raise an error that names what stopped training, what is kept, and how to resume."""
    again = resume_command(run, trainer.setup.processes.count)
    try:
        yield
    except OSError as stop:
        then = again if has_model_or_checkpoint(run) else "start again"
        raise TrainingError(
            f"{_os_error(stop, run)}{_kept(run, trainer)}",
            hint=f"make room, then {then}" if stop.errno in NO_ROOM else then,
        ) from stop
    except (KeyboardInterrupt, ToolchainError) as stop:
        kept = _kept(run, trainer)
        # Interrupted while the model was written, the run goes on from its checkpoint.
        if not kept and not (isinstance(stop, KeyboardInterrupt) and has_model_or_checkpoint(run)):
            raise
        if isinstance(stop, KeyboardInterrupt):
            raise Interrupted(f"{stop_reason(stop)}{kept}", hint=again) from stop
        if isinstance(stop, MachineFailure):
            # Of the settings only --workers may change when a run is resumed.
            more = f" {stop.options}" if stop.options.startswith("--workers") else ""
            stop.hint = again + more
        stop.args = (f"{stop}{kept}",)
        stop.hint = stop.hint or again
        raise


def _os_error(error: OSError, run: RunFolder) -> str:
    reason = (error.strerror or str(error)).lower()
    unwritten = error.errno in (*NO_ROOM, errno.EROFS, errno.EACCES, errno.EPERM)
    what = "can't be written: " if unwritten else "failed: "
    return f"{error.filename or run.path} {what}{reason}"


def _kept(run: RunFolder, trainer: Trainer) -> str:
    """Return which epoch is kept, to end a sentence; nothing where no model was written."""
    if not trainer.epoch or not trainer.model_written:
        return ""
    epochs = counted(trainer.epoch, "epoch")
    which = "best" if trainer.aligner is None else "last"
    return f"; the {which} of {epochs} is kept in {run.path}"


def has_model_or_checkpoint(run: RunFolder) -> bool:
    """Return whether a stopped run holds a model to use or a checkpoint to resume from."""
    return run.weights.is_file() or Checkpoints(run).load() is not None


def settings_of_stopped_run(run: RunFolder) -> FinetuneSettings:
    """Return the settings of a run that can be resumed; else DataError or TrainingError."""
    if not run.settings.is_file():
        raise no_run_folder(run.path)
    if run.weights.is_file() and not run.checkpoints.is_dir():
        raise TrainingError(
            f"{run.path} has finished; there is nothing to resume",
            hint=f"more epochs: rtl finetune DATA --weights {shell_words(run.path)}",
        )
    return stored_settings(run.settings, whole=True)
