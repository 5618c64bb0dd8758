"""The files that training writes at its end: the model, its card, the plots, the summary."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import msgspec
import PIL
import torch

from toolchain.data.audit import Audit
from toolchain.files import write_bytes
from toolchain.metrics import confusion_plot
from toolchain.metrics.calibration import calibration_error, fit_temperature
from toolchain.networks import resnet
from toolchain.networks.weights import weights_bytes
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings_file import settings_sha256
from toolchain.runtime.card import Card, Weights
from toolchain.training.analysis import plots
from toolchain.training.analysis.diagnosis import Finding, diagnose
from toolchain.training.epoch_log import write_metrics
from toolchain.training.setup import Setup
from toolchain.training.trainer import Trainer
from toolchain.version import __version__


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The epochs in a few figures; the last line of metrics.jsonl. Rates and errors in 0…1."""

    epochs: int
    """Epochs that were trained."""
    best_epoch: int
    """The epoch whose weights are kept, from 1; the validation metrics are its own."""
    val_loss: float
    """Mean cross entropy in nats."""
    val_accuracy: float
    val_macro_f1: float
    val_auc: float | None
    temperature: float
    """Fitted on the validation images of the best epoch."""
    calibration_error: tuple[float, float]
    """Expected calibration error before and after the temperature."""
    findings: list[Finding]
    """Problems that the curves show; empty for a healthy run."""


def summarise(setup: Setup, trainer: Trainer) -> Summary:
    """Return the summary of a trainer that has finished an epoch or more."""
    outputs = trainer.best.outputs
    temperature = fit_temperature(outputs)
    return Summary(
        epochs=trainer.epoch,
        best_epoch=trainer.best.epoch,
        val_loss=outputs.loss,
        val_accuracy=outputs.accuracy,
        val_macro_f1=outputs.macro_f1,
        val_auc=outputs.auc,
        temperature=temperature,
        calibration_error=(
            calibration_error(outputs, 1.0),
            calibration_error(outputs, temperature),
        ),
        findings=diagnose(trainer.finished.history, setup.settings, len(setup.dataset.classes)),
    )


def write_model(setup: Setup, run: RunFolder, audit: Audit, trainer: Trainer) -> Summary:
    """Write the best epoch's weights, their card, the plots and the summary; return the summary.

    The weights and the card come first: with them the run can be used, whatever fails then.
    """
    summary = summarise(setup, trainer)
    data = weights_bytes(trainer.best_state())
    run.release_room()
    write_bytes(run.weights, data)
    weights = Weights(origin=setup.origin, sha256=hashlib.sha256(data).hexdigest())
    run.write_card(_card(setup, audit, weights, summary.temperature))
    trainer.model_written = True
    write_metrics(run, [*trainer.finished.history, {"summary": summary}])
    plots.draw_curves(trainer.finished.history, trainer.best.epoch, run.curves)
    outputs = trainer.best.outputs
    if not outputs.multi_label:
        title = f"validation, {len(outputs.labels)} images, {outputs.accuracy:.1%} right"
        confusion_plot.draw_confusion(
            outputs.confusion, setup.dataset.classes, title, run.confusion
        )
    return summary


def _card(setup: Setup, audit: Audit, weights: Weights, temperature: float) -> Card:
    return Card(
        classes=setup.dataset.classes,
        task=setup.settings.task,
        preprocessing=setup.preprocessing,
        normalisation=resnet.IMAGENET_NORMALISATION,
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
