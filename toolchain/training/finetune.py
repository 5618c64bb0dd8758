"""The story of `rtl finetune`: a folder of images becomes a run folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import PIL
import torch

from toolchain import __version__
from toolchain.data.audit import Audit
from toolchain.data.layouts import Dataset
from toolchain.errors import DataError, Interrupted, ToolchainError, TrainingError
from toolchain.narrator import Narrator, Silent
from toolchain.runfolder import RunFolder, free_run_path, whole_file, write_json
from toolchain.runtime.card import Card, Weights
from toolchain.training import models, pictures
from toolchain.training.calibration import calibration_error, fit_temperature
from toolchain.training.checkpoints import Checkpoints, held
from toolchain.training.diagnosis import Finding, diagnose
from toolchain.training.distributed import Processes, joined
from toolchain.training.event_log import require_tensorboard
from toolchain.training.loop import choose_device
from toolchain.training.settings import FinetuneSettings
from toolchain.training.settings_file import read_settings, settings_sha256, settings_toml
from toolchain.training.setup import Setup, placed, prepare, read_data
from toolchain.training.trainer import Trainer


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What the epochs came to; the last line of metrics.jsonl. Rates in 0…1."""

    epochs: int
    best_epoch: int
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    val_auc: float | None
    temperature: float
    """Fitted on the validation images of the best epoch."""
    calibration_error: tuple[float, float]
    """Expected calibration error before and after the temperature."""
    findings: list[Finding]
    """What the curves say."""


@dataclass(frozen=True)
class Finetuned:
    """What training left."""

    run: RunFolder
    dataset: Dataset
    audit: Audit
    summary: Summary
    seconds: float


def finetune(
    settings: FinetuneSettings,
    output: str | os.PathLike[str] | None = None,
    *,
    narrator: Narrator | None = None,
) -> Finetuned:
    """Train as the settings say and leave a run folder; the data folder is only read.

    `output` is the run folder, by default one under `runs/` named after the data. Raises DataError
    for data that can't serve and TrainingError for what stops training.
    """
    narrator = narrator or Silent()
    started = time.monotonic()
    with joined() as processes:
        run = RunFolder(processes.from_writer(output or _default_output(settings)))
        if processes.is_writer:
            run.require_free()
            if settings.tensorboard:
                require_tensorboard()
        dataset, audit = _read_data(settings, run, processes, narrator)
        torch.manual_seed(settings.seed)
        start = models.start_classifier(
            settings.arch,
            len(dataset.classes),
            settings.weights,
            dropout=settings.dropout,
            narrator=narrator,
        )
        device = choose_device(settings.device, processes.local_rank)
        narrator.say(f"{settings.arch} from {start[1]}, on {_where(device, processes)}")
        setup = prepare(settings, dataset, start, device, processes, narrator)
        if processes.is_writer:
            run.create(settings_toml(placed(setup.settings)))
        return _train(setup, run, audit, started, narrator, fresh=True)


def resume(
    run_path: str | os.PathLike[str],
    *,
    workers: int | None = None,
    device: str | None = None,
    narrator: Narrator | None = None,
) -> Finetuned:
    """Go on with a run that was stopped; on a CPU it ends as if it had never been.

    `workers` and `device` may differ from the run's. Raises DataError where the run or its data
    can't serve, and TrainingError where it is finished or another process trains it.
    """
    narrator = narrator or Silent()
    started = time.monotonic()
    with joined() as processes:
        run = RunFolder(run_path)
        settings = _stopped_settings(run)
        settings = msgspec.structs.replace(
            settings,
            workers=settings.workers if workers is None else workers,
            device=settings.device if device is None else device,
        )
        dataset, audit = _read_data(settings, run, processes, narrator)
        _require_same_data(run, audit)
        torch.manual_seed(settings.seed)
        start = _started(run, settings, len(dataset.classes), narrator)
        chosen = choose_device(settings.device, processes.local_rank)
        narrator.say(f"going on with {run.path}, on {_where(chosen, processes)}")
        setup = prepare(settings, dataset, start, chosen, processes, narrator)
        return _train(setup, run, audit, started, narrator, fresh=False)


def _train(
    setup: Setup, run: RunFolder, audit: Audit, started: float, narrator: Narrator, *, fresh: bool
) -> Finetuned:
    """Train what is left and write the model; where that stops, the run can be resumed."""
    if not setup.processes.is_writer:
        trainer = Trainer(setup, run, narrator)
        _fit(trainer, run, audit)
        return _finetuned(setup, run, audit, trainer, started)
    with held(run):
        trainer = Trainer(setup, run, narrator)
        with _kept_safe(run, trainer, fresh):
            try:
                _fit(trainer, run, audit)
            except (KeyboardInterrupt, ToolchainError):
                if trainer.epoch:
                    _write_model(setup, run, audit, trainer)
                raise
            _write_model(setup, run, audit, trainer)
        result = _finetuned(setup, run, audit, trainer, started)
    run.drop_checkpoints()
    return result


def _fit(trainer: Trainer, run: RunFolder, audit: Audit) -> None:
    """Begin, or go on from the newest checkpoint, and train to the end."""
    if not trainer.load() and trainer.setup.processes.is_writer:
        write_json(run.audit, audit)
        run.metrics.unlink(missing_ok=True)
        trainer.checkpoints.save_start(trainer.setup.frozen_state(), trainer.setup.origin)
    trainer.fit()


@contextlib.contextmanager
def _kept_safe(run: RunFolder, trainer: Trainer, fresh: bool) -> Iterator[None]:
    """Explain what stopped training and what goes on; a run without an epoch leaves nothing."""
    again = f"rtl finetune --resume {shlex.quote(str(run.path))}"
    try:
        yield
    except (KeyboardInterrupt, ToolchainError, OSError) as stop:
        if not trainer.epoch and fresh:
            run.discard()
        kept = f"the best of {trainer.epoch} epochs is kept in {run.path}"
        if isinstance(stop, OSError):
            reason = (stop.strerror or str(stop)).lower()
            raise TrainingError(
                f"{stop.filename or run.path} can't be written: {reason}",
                hint=f"make room, then {again if trainer.saved_epoch else 'start again'}",
            ) from stop
        if not trainer.epoch:
            raise
        if isinstance(stop, KeyboardInterrupt):
            raise Interrupted(f"interrupted; {kept}", hint=again) from stop
        stop.args = (f"{stop}; {kept}",)
        raise


def _finetuned(
    setup: Setup, run: RunFolder, audit: Audit, trainer: Trainer, started: float
) -> Finetuned:
    seconds = time.monotonic() - started
    return Finetuned(run, setup.dataset, audit, _summary(setup, trainer), seconds)


def _summary(setup: Setup, trainer: Trainer) -> Summary:
    outputs = trainer.best_outputs
    temperature = fit_temperature(outputs)
    return Summary(
        epochs=trainer.epoch,
        best_epoch=trainer.best_epoch,
        val_loss=outputs.loss,
        val_accuracy=outputs.accuracy,
        val_macro_f1=outputs.macro_f1,
        val_auc=outputs.auc,
        temperature=temperature,
        calibration_error=(
            calibration_error(outputs, 1.0),
            calibration_error(outputs, temperature),
        ),
        findings=diagnose(trainer.history, setup.settings, len(setup.dataset.classes)),
    )


def _write_model(setup: Setup, run: RunFolder, audit: Audit, trainer: Trainer) -> None:
    """Write the best epoch's weights, their card, the pictures and the summary."""
    summary = _summary(setup, trainer)
    data = models.weights_bytes(trainer.best_state())
    with whole_file(run.weights) as temporary:
        temporary.write_bytes(data)
    record = Weights(origin=setup.origin, sha256=hashlib.sha256(data).hexdigest())
    run.write_card(_card(setup, audit, record, summary.temperature))
    with run.metrics.open("a", encoding="utf-8") as file:
        file.write(msgspec.json.encode({"summary": summary}).decode() + "\n")
    pictures.draw_curves(trainer.history, trainer.best_epoch, run.curves)
    outputs = trainer.best_outputs
    if not outputs.multi_label:
        title = f"validation, {len(outputs.labels)} images, {outputs.accuracy:.1%} right"
        pictures.draw_confusion(outputs.confusion, setup.dataset.classes, title, run.confusion)


def _card(setup: Setup, audit: Audit, weights: Weights, temperature: float) -> Card:
    return Card(
        classes=setup.dataset.classes,
        task=setup.settings.task,
        preprocessing=setup.preprocessing,
        normalisation=models.IMAGENET_NORMALISATION,
        temperature=temperature,
        architecture=setup.settings.arch,
        weights=weights,
        settings_sha256=settings_sha256(setup.settings),
        data_sha256=audit.fingerprint,
        versions={
            "rtl": __version__,
            "torch": str(torch.__version__),
            "pillow": PIL.__version__,
        },
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _default_output(settings: FinetuneSettings) -> Path:
    data = Path(settings.data).resolve()
    name = data.stem if data.is_file() else data.name
    return free_run_path(Path("runs"), f"{name}-{settings.arch}-{settings.strategy}")


def _read_data(
    settings: FinetuneSettings, run: RunFolder, processes: Processes, narrator: Narrator
) -> tuple[Dataset, Audit]:
    """Read the data in one process and hand it to all."""
    found = None
    if processes.is_writer:
        found = read_data(settings, run.path, narrator)
    found = processes.from_writer(found)
    assert found is not None
    return found


def _where(device: torch.device, processes: Processes) -> str:
    return f"{device} in {processes.count} processes" if processes.count > 1 else str(device)


def _stopped_settings(run: RunFolder) -> FinetuneSettings:
    """Give the settings of a run that was stopped; DataError or TrainingError for another."""
    if not run.settings.is_file():
        raise DataError(f"{run.path} is no run folder", hint="rtl finetune DATA makes one")
    if run.weights.is_file() and not run.checkpoints.is_dir():
        raise TrainingError(
            f"{run.path} has finished; there is nothing to go on with",
            hint=f"rtl evaluate {shlex.quote(str(run.path))}",
        )
    return read_settings(run.settings, {})


def _require_same_data(run: RunFolder, audit: Audit) -> None:
    """A run goes on only with the images and labels that it began with."""
    if not run.audit.is_file():
        return  # stopped before it was written
    before = msgspec.json.decode(run.audit.read_bytes(), type=Audit)
    if before.fingerprint != audit.fingerprint:
        raise DataError(
            f"{audit.data} has changed since {run.path} began: {before.images} files then, "
            f"{audit.images} now",
            hint=f"start anew: rtl finetune {shlex.quote(audit.data)}",
        )


def _started(
    run: RunFolder, settings: FinetuneSettings, classes: int, narrator: Narrator
) -> tuple[models.Classifier, str]:
    """Give the classifier as it was when the run began."""
    start = Checkpoints(run).load_start()
    if start is None:
        return models.start_classifier(
            settings.arch, classes, settings.weights, dropout=settings.dropout, narrator=narrator
        )
    frozen, origin = start
    network = models.build_network(settings.arch, classes, dropout=settings.dropout)
    classifier = models.Classifier(network, models.IMAGENET_NORMALISATION)
    # The rest is in the checkpoint.
    classifier.load_state_dict(frozen, strict=False)
    return classifier, origin
