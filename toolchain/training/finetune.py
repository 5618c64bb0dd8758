"""`rtl finetune`: train on a folder of images and write a run folder, or resume a stopped run."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import torch

from toolchain.data.audit import with_train_digests
from toolchain.data.audit_result import Audit
from toolchain.errors import ToolchainError, TrainingError
from toolchain.files import write_json
from toolchain.networks.device import choose_device
from toolchain.networks.weights import require_weights
from toolchain.progress import ProgressReporter, SilentReporter
from toolchain.runs.runfolder import RunFolder, free_run_path
from toolchain.runs.selection import read_selection
from toolchain.runs.settings import FinetuneSettings
from toolchain.training.alignment.begin import begin_alignment, require_one_process, with_labelled
from toolchain.training.alignment.images import (
    read_target_images,
    require_same_target,
    require_target_there,
    write_alignment,
)
from toolchain.training.alignment.labelled import measure_labelled
from toolchain.training.artifacts import Summary, summarise, write_model
from toolchain.training.checkpoints import (
    RECORD_BYTES,
    Checkpoint,
    Checkpoints,
    run_lock,
    state_bytes,
)
from toolchain.training.choosing import (
    GIVEN,
    ChoiceInputs,
    Choosers,
    chosen_settings,
    chosen_source,
    with_source,
)
from toolchain.training.data import (
    data_name,
    read_data,
    remember_data,
    require_outside_data,
    require_same_data,
    require_there,
    write_excluded,
)
from toolchain.training.distributed import Processes, process_group
from toolchain.training.feasible import (
    feasible_when_listed,
    require_device_fits,
    require_feasible,
)
from toolchain.training.finetune_result import FinetuneResult
from toolchain.training.first_files import FirstFiles, first_files
from toolchain.training.machine_failures import machine_failures
from toolchain.training.probe_start import begin_head
from toolchain.training.setup import Setup, prepare
from toolchain.training.soup import make_soup
from toolchain.training.starting_weights import (
    make_starting_weights,
    require_same_start,
    restore_starting_weights,
)
from toolchain.training.stopped_run import (
    explain_stop,
    has_model_or_checkpoint,
    settings_of_stopped_run,
)
from toolchain.training.trackers.trackers import require_trackers
from toolchain.training.trainer import Trainer


def finetune(
    settings: FinetuneSettings,
    output: str | os.PathLike[str] | None = None,
    *,
    progress: ProgressReporter | None = None,
    choosers: Choosers = GIVEN,
) -> FinetuneResult:
    """Train with these settings and write a run folder; the data folder is only read.

    `output` is the run folder, by default a new one under `runs/` named after the data. `choosers`
    make the choices that were asked for, before the run folder exists. Raises
    DataError for data that can't be trained on, TrainingError for what stops training, and
    Interrupted for Ctrl-C after an epoch or more: the best epoch is kept and the run can be
    resumed.
    """
    progress = progress or SilentReporter()
    started = time.monotonic()
    with process_group() as processes:
        arch = settings.arch if choosers.source is None else "auto"
        run = RunFolder(processes.from_rank_zero(output or _default_output(settings, arch)))
        processes.run_on_rank_zero(lambda: _require_possible(settings, run, choosers))
        device = choose_device(settings.device, processes.local_rank)
        require_device_fits(settings, device)
        given = not any(choosers)
        listed = feasible_when_listed(settings, device, processes.count) if given else None
        dataset, audit = read_data(settings, run.path, processes, progress, listed)
        target = read_target_images(settings, dataset, progress)
        source = chosen_source(settings, dataset, device, choosers, processes, progress)
        settings = source.settings
        dataset = with_labelled(dataset, target, settings)
        if choosers.settings is None:
            require_feasible(settings, dataset, device, processes.count, progress)
        start = make_starting_weights(settings, dataset.classes, progress)
        place = _device_and_processes(device, processes)
        progress.message(f"{settings.arch} from {start.origin}, on {place}")
        inputs = ChoiceInputs(settings, dataset, start, device)
        with machine_failures():
            choice = with_source(source, chosen_settings(inputs, choosers, processes, progress))
            start = start.reading(choice.settings.head_stages)
            setup = prepare(choice.settings, dataset, start, device, processes, progress)
            begin_head(setup, progress)
            setup = begin_alignment(setup, target, progress)
            figures = measure_labelled(setup, target, progress)
        files = first_files(setup.settings, choice, run)
        run = processes.run_on_rank_zero(lambda: _create(run, files, settings, output is None))
        processes.run_on_rank_zero(lambda: write_excluded(run, dataset))
        write_alignment(run, target, settings, figures)
        result = _train(
            setup, run, audit, None, started, progress, fresh=True, deadline=choice.deadline
        )
        if choice.when_trained is not None:
            choice.when_trained()
        return result


def resume(
    run_path: str | os.PathLike[str],
    *,
    data: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    progress: ProgressReporter | None = None,
) -> FinetuneResult:
    """Resume a run that was stopped; on a CPU the weights are those of an uninterrupted run.

    `data` is where the images are now, if they were moved; `workers` and `device` may differ from
    the run's. Raises DataError where the folder is no run or
    its data has changed, and TrainingError where the run is finished or another process trains it.
    """
    progress = progress or SilentReporter()
    started = time.monotonic()
    with process_group() as processes:
        run = RunFolder(run_path)
        settings = settings_of_stopped_run(run)
        settings = msgspec.structs.replace(
            settings,
            data=settings.data if data is None else data,
            workers=settings.workers if workers is None else workers,
            device=settings.device if device is None else device,
            exclude=str(run.excluded) if run.excluded.is_file() else "",
            allow_leaks=True,  # it was decided when the run began
        )
        if data is None:
            require_there(settings.data, run)
        require_target_there(run, settings)
        processes.run_on_rank_zero(lambda: require_trackers(settings))
        dataset, audit = read_data(settings, run.path, processes, progress)
        require_same_data(run, audit)
        target = read_target_images(settings, dataset, progress)
        require_same_target(run, target, settings)
        dataset = with_labelled(dataset, target, settings)
        if data is not None and processes.is_rank_zero:
            remember_data(run, data)
        checkpoints = Checkpoints(run)
        checkpoint = checkpoints.load()
        if checkpoint is None and (files := checkpoints.damaged()):
            progress.message(f"{', '.join(files)}: no whole checkpoint; training starts again")
        start = (
            restore_starting_weights(checkpoints, settings, len(dataset.classes))
            if checkpoint
            else None
        )
        restored = start is not None
        start = start or make_starting_weights(settings, dataset.classes, progress)
        chosen = choose_device(settings.device, processes.local_rank)
        progress.message(f"resuming {run.path}, on {_device_and_processes(chosen, processes)}")
        setup = prepare(settings, dataset, start, chosen, processes, progress)
        with machine_failures():
            if checkpoint is None:
                begin_head(setup, progress)
            setup = begin_alignment(setup, target, progress, estimate=not restored)
        if checkpoint is not None:
            require_same_start(checkpoints, setup.frozen_state(), settings)
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
    deadline: float | None = None,
) -> FinetuneResult:
    """Train the remaining epochs, or those until the deadline, and write the model.

    After an error the run can be resumed; a `fresh` run without model or checkpoint is removed.
    """
    if not setup.processes.is_rank_zero:
        trainer = Trainer(setup, run, progress)
        _fit(trainer, run, audit, checkpoint)
        summary = summarise(setup, trainer)
        seconds = time.monotonic() - started
        return FinetuneResult(run, setup.dataset, audit, summary, seconds, read_selection(run))
    with run_lock(run):
        run.remove_temporary_files()
        try:
            run.reserve_room(state_bytes(setup.classifier.state_dict()) + RECORD_BYTES)
            summary = _train_and_write(setup, run, audit, checkpoint, progress, deadline)
        except BaseException:
            if fresh and not has_model_or_checkpoint(run):
                run.discard()
            raise
        run.drop_checkpoints()
    seconds = time.monotonic() - started
    return FinetuneResult(run, setup.dataset, audit, summary, seconds, read_selection(run))


def _train_and_write(
    setup: Setup,
    run: RunFolder,
    audit: Audit,
    checkpoint: Checkpoint | None,
    progress: ProgressReporter,
    deadline: float | None,
) -> Summary:
    """Train and write the model; where training stops early, write that of the best epoch."""
    trainer = Trainer(setup, run, progress, deadline)
    with trainer.log.reported_end(), explain_stop(run, trainer):
        try:
            with machine_failures():
                _fit(trainer, run, audit, checkpoint)
                make_soup(trainer, progress)
        except (KeyboardInterrupt, ToolchainError, OSError):
            if trainer.epoch:
                write_model(setup, run, audit, trainer)
            raise
        trainer.log.summary = write_model(setup, run, audit, trainer)
        return trainer.log.summary


def _fit(trainer: Trainer, run: RunFolder, audit: Audit, checkpoint: Checkpoint | None) -> None:
    """Train to the end, from the beginning or from a checkpoint."""
    if checkpoint is not None:
        trainer.load(checkpoint)
    elif trainer.setup.processes.is_rank_zero:
        write_json(run.audit, with_train_digests(audit, trainer.setup.trained_on))
        run.metrics.unlink(missing_ok=True)
        trainer.save_start()
    trainer.fit()
    epochs = trainer.setup.settings.epochs
    if trainer.is_out_of_time() and trainer.epoch < epochs:
        trainer.progress.message(f"the time is over after {trainer.epoch} of {epochs} epochs")


def _require_possible(settings: FinetuneSettings, run: RunFolder, choosers: Choosers) -> None:
    """Raise the error of a run that can't be made, before the images are read."""
    require_outside_data(settings, run.path)
    require_one_process(settings)
    run.require_creatable()
    require_trackers(settings)
    for weights in choosers.source_weights or (settings.weights,):
        require_weights(weights)


def _create(
    run: RunFolder, files: FirstFiles, settings: FinetuneSettings, is_default: bool
) -> RunFolder:
    """Create the run folder and return it: the next free one where another run took the default."""
    while True:
        try:
            run.create(files.settings, files.selection)
        except TrainingError:
            taken = RunFolder(_default_output(settings, settings.arch))
            if not is_default or taken.path == run.path:
                raise
            run = taken
        else:
            return run


def _default_output(settings: FinetuneSettings, arch: str) -> Path:
    name = data_name(settings.data)
    return free_run_path(Path("runs"), f"{name}-{arch}-{settings.strategy}")


def _device_and_processes(device: torch.device, processes: Processes) -> str:
    return f"{device} in {processes.count} processes" if processes.count > 1 else str(device)
