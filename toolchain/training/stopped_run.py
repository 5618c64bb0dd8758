"""Runs that are stopped: the error that explains it, what they hold, and how they are resumed."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator

from toolchain.errors import DataError, Interrupted, ToolchainError, TrainingError
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings import FinetuneSettings
from toolchain.runs.stored_settings import stored_settings
from toolchain.training.checkpoints import Checkpoints, resume_command
from toolchain.training.trainer import Trainer


@contextlib.contextmanager
def explain_stop(run: RunFolder, trainer: Trainer) -> Iterator[None]:
    """Raise an error that names what stopped training, what is kept, and how to resume."""
    again = resume_command(run, trainer.setup.processes.count)
    try:
        yield
    except OSError as stop:
        reason = (stop.strerror or str(stop)).lower()
        then = again if has_model_or_checkpoint(run) else "start again"
        raise TrainingError(
            f"{stop.filename or run.path} can't be written: {reason}",
            hint=f"make room, then {then}",
        ) from stop
    except (KeyboardInterrupt, ToolchainError) as stop:
        if not trainer.epoch:
            raise
        epochs = "1 epoch" if trainer.epoch == 1 else f"{trainer.epoch} epochs"
        kept = f"the best of {epochs} is kept in {run.path}"
        if isinstance(stop, KeyboardInterrupt):
            raise Interrupted(f"interrupted; {kept}", hint=again) from stop
        stop.args = (f"{stop}; {kept}",)
        raise


def has_model_or_checkpoint(run: RunFolder) -> bool:
    """Return whether a stopped run holds a model to use or a checkpoint to resume from."""
    return run.weights.is_file() or Checkpoints(run).load() is not None


def settings_of_stopped_run(run: RunFolder) -> FinetuneSettings:
    """Return the settings of a run that can be resumed; else DataError or TrainingError."""
    if not run.settings.is_file():
        raise DataError(f"{run.path} is no run folder", hint="rtl finetune DATA makes one")
    if run.weights.is_file() and not run.checkpoints.is_dir():
        raise TrainingError(
            f"{run.path} has finished; there is nothing to resume",
            hint=f"more epochs: rtl finetune DATA --weights {shlex.quote(str(run.path))}",
        )
    return stored_settings(run.settings, whole=True)
