"""The story of `rtl finetune`: a folder of images becomes a run folder."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from toolchain.data.audit import Audit
from toolchain.data.layouts import Dataset
from toolchain.display import Block, Displayed
from toolchain.errors import DataError, Interrupted, ToolchainError, TrainingError
from toolchain.files import write_json
from toolchain.networks import resnet
from toolchain.networks.device import choose_device
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.runfolder import RunFolder, free_run_path
from toolchain.runs.settings import FinetuneSettings, SettingsError
from toolchain.runs.settings_file import read_settings, settings_toml
from toolchain.training.analysis.tensorboard import require_tensorboard
from toolchain.training.artifacts import Summary, summarise, write_model
from toolchain.training.checkpoints import Checkpoint, Checkpoints, resume_command, run_lock
from toolchain.training.distributed import Processes, process_group
from toolchain.training.finetune_display import finetune_blocks
from toolchain.training.setup import Setup, data_name, fresh_start, placed, prepare, read_data
from toolchain.training.trainer import Trainer


@dataclass(frozen=True, repr=False)
class FinetuneResult(Displayed):
    """What training left."""

    run: RunFolder
    dataset: Dataset
    audit: Audit
    summary: Summary
    seconds: float

    def blocks(self) -> list[Block]:
        """Return the content of the result, for `repr`, notebooks and the command line."""
        return finetune_blocks(self.run, self.dataset, self.summary, self.seconds)


def finetune(
    settings: FinetuneSettings,
    output: str | os.PathLike[str] | None = None,
    *,
    progress: ProgressReporter | None = None,
) -> FinetuneResult:
    """Train as the settings say and leave a run folder; the data folder is only read.

    `output` is the run folder, by default one under `runs/` named after the data. Raises DataError
    for data that can't serve and TrainingError for what stops training.
    """
    progress = progress or SilentReporter()
    started = time.monotonic()
    with process_group() as processes:
        run = RunFolder(processes.from_rank_zero(output or _default_output(settings)))
        if processes.is_rank_zero:
            run.require_free()
            if settings.tensorboard:
                require_tensorboard()
        dataset, audit = _read_data(settings, run, processes, progress)
        start = fresh_start(settings, len(dataset.classes), progress)
        device = choose_device(settings.device, processes.local_rank)
        progress.message(f"{settings.arch} from {start[1]}, on {_where(device, processes)}")
        setup = prepare(settings, dataset, start, device, processes, progress)
        if processes.is_rank_zero:
            run.create(settings_toml(placed(setup.settings)))
        return _train(setup, run, audit, None, started, progress, fresh=True)


def resume(
    run_path: str | os.PathLike[str],
    *,
    workers: int | None = None,
    device: str | None = None,
    progress: ProgressReporter | None = None,
) -> FinetuneResult:
    """Go on with a run that was stopped; on a CPU it ends as if it had never been.

    `workers` and `device` may differ from the run's. Raises DataError where the run or its data
    can't serve, and TrainingError where it is finished or another process trains it.
    """
    progress = progress or SilentReporter()
    started = time.monotonic()
    with process_group() as processes:
        run = RunFolder(run_path)
        settings = _stopped_settings(run)
        settings = msgspec.structs.replace(
            settings,
            workers=settings.workers if workers is None else workers,
            device=settings.device if device is None else device,
        )
        dataset, audit = _read_data(settings, run, processes, progress)
        _require_same_data(run, audit)
        checkpoint = Checkpoints(run).load()
        start = _started(run, settings, len(dataset.classes), checkpoint, progress)
        chosen = choose_device(settings.device, processes.local_rank)
        progress.message(f"going on with {run.path}, on {_where(chosen, processes)}")
        setup = prepare(settings, dataset, start, chosen, processes, progress)
        return _train(setup, run, audit, checkpoint, started, progress, fresh=False)


def _train(
    setup: Setup,
    run: RunFolder,
    audit: Audit,
    checkpoint: Checkpoint | None,
    started: float,
    progress: ProgressReporter,
    *,
    fresh: bool,
) -> FinetuneResult:
    """Train what is left and write the model; where that stops, the run can be resumed."""
    if not setup.processes.is_rank_zero:
        trainer = Trainer(setup, run, progress)
        _fit(trainer, run, audit, checkpoint)
        summary = summarise(setup, trainer)
        return FinetuneResult(run, setup.dataset, audit, summary, time.monotonic() - started)
    with run_lock(run):
        run.sweep()
        try:
            summary = _train_and_write(setup, run, audit, checkpoint, progress)
        except BaseException:
            if fresh and not _worth_keeping(run):
                run.discard()
            raise
        run.drop_checkpoints()
    return FinetuneResult(run, setup.dataset, audit, summary, time.monotonic() - started)


def _train_and_write(
    setup: Setup,
    run: RunFolder,
    audit: Audit,
    checkpoint: Checkpoint | None,
    progress: ProgressReporter,
) -> Summary:
    trainer = Trainer(setup, run, progress)
    with _explained(run, trainer):
        try:
            _fit(trainer, run, audit, checkpoint)
        except (KeyboardInterrupt, ToolchainError):
            if trainer.epoch:
                write_model(setup, run, audit, trainer)
            raise
        return write_model(setup, run, audit, trainer)


def _fit(trainer: Trainer, run: RunFolder, audit: Audit, checkpoint: Checkpoint | None) -> None:
    """Begin, or go on from a checkpoint, and train to the end."""
    if checkpoint is not None:
        trainer.load(checkpoint)
    elif trainer.setup.processes.is_rank_zero:
        write_json(run.audit, audit)
        run.metrics.unlink(missing_ok=True)
        trainer.checkpoints.save_start(trainer.setup.frozen_state(), trainer.setup.origin)
    trainer.fit()


@contextlib.contextmanager
def _explained(run: RunFolder, trainer: Trainer) -> Iterator[None]:
    """Say what stopped training, what is kept, and what goes on from there."""
    again = resume_command(run, trainer.setup.processes.count)
    try:
        yield
    except OSError as stop:
        reason = (stop.strerror or str(stop)).lower()
        then = again if _worth_keeping(run) else "start again"
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


def _worth_keeping(run: RunFolder) -> bool:
    """Say whether a run that was stopped holds a model, or something to go on from."""
    return run.weights.is_file() or Checkpoints(run).load() is not None


def _default_output(settings: FinetuneSettings) -> Path:
    name = data_name(settings.data)
    return free_run_path(Path("runs"), f"{name}-{settings.arch}-{settings.strategy}")


def _read_data(
    settings: FinetuneSettings, run: RunFolder, processes: Processes, progress: ProgressReporter
) -> tuple[Dataset, Audit]:
    """Read the data in one process and hand it to all."""
    found = None
    if processes.is_rank_zero:
        found = read_data(settings, run.path, progress)
    found = processes.from_rank_zero(found)
    assert found is not None
    return found


def _where(device: torch.device, processes: Processes) -> str:
    return f"{device} in {processes.count} processes" if processes.count > 1 else str(device)


def _stopped_settings(run: RunFolder) -> FinetuneSettings:
    """Return the settings of a run that was stopped; DataError or TrainingError for another."""
    if not run.settings.is_file():
        raise DataError(f"{run.path} is no run folder", hint="rtl finetune DATA makes one")
    if run.weights.is_file() and not run.checkpoints.is_dir():
        raise TrainingError(
            f"{run.path} has finished; there is nothing to go on with",
            hint=f"rtl evaluate {shlex.quote(str(run.path))}",
        )
    try:
        return read_settings(run.settings, {})
    except SettingsError as error:
        raise DataError(f"{run.path} can't go on: {error}") from error


def _require_same_data(run: RunFolder, audit: Audit) -> None:
    """A run goes on only with the images and labels that it began with."""
    if not run.audit.is_file():
        return  # stopped before it was written
    try:
        before = msgspec.json.decode(run.audit.read_bytes(), type=Audit)
    except msgspec.DecodeError as error:
        raise DataError(f"{run.audit} is damaged: {error}") from error
    if before.fingerprint != audit.fingerprint:
        raise DataError(
            f"{audit.data} has changed since {run.path} began: {before.images} files then, "
            f"{audit.images} now",
            hint=f"start anew: rtl finetune {shlex.quote(audit.data)}",
        )


def _started(
    run: RunFolder,
    settings: FinetuneSettings,
    classes: int,
    checkpoint: Checkpoint | None,
    progress: ProgressReporter,
) -> tuple[resnet.Classifier, str]:
    """Return the classifier as it was when the run began, but for what is in the checkpoint."""
    start = Checkpoints(run).load_start() if checkpoint is not None else None
    if start is None:
        return fresh_start(settings, classes, progress)
    frozen, origin = start
    network = resnet.build_network(settings.arch, classes, dropout=settings.dropout)
    classifier = resnet.Classifier(network, resnet.IMAGENET_NORMALISATION)
    classifier.load_state_dict(frozen, strict=False)
    return classifier, origin
