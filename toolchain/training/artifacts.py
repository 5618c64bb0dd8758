"""The files that training writes at its end: the model, its card, the plots, the summary."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import PIL
import torch

from toolchain.data.audit_result import Audit
from toolchain.files import write_bytes
from toolchain.metrics import confusion_plot
from toolchain.metrics.evidence import as_good_as_the_best
from toolchain.metrics.outputs import Outputs
from toolchain.metrics.temperature import ChosenTemperature, choose_temperature
from toolchain.networks import resnet
from toolchain.networks.weights import weights_bytes
from toolchain.runs.alignment import read_alignment
from toolchain.runs.delta import DeltaRecord, base_sha256, delta_bytes, portable_settings
from toolchain.runs.runfolder import RunFolder
from toolchain.runs.settings_file import settings_sha256
from toolchain.runtime.card import Card, Weights
from toolchain.training.analysis import plots
from toolchain.training.analysis.diagnosis import Finding, diagnose
from toolchain.training.analysis.validated import Validated
from toolchain.training.epoch_log import write_metrics
from toolchain.training.setup import Setup
from toolchain.training.strategies import DELTA_STRATEGIES
from toolchain.training.trainer import Trainer
from toolchain.version import __version__


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The epochs in a few figures; the last line of metrics.jsonl. Rates and errors in 0…1."""

    epochs: int
    """Epochs that were trained."""
    best_epoch: int
    """The epoch whose weights are kept, from 1; the validation metrics are its own."""
    epochs_as_good: int
    """Epochs whose accuracy so many images can't tell from the highest, that one included."""
    val_images: int
    val_loss: float
    """Mean cross entropy in nats."""
    val_accuracy: float
    val_macro_f1: float
    val_auc: float | None
    temperature: float
    """Fitted on the validation images of the best epoch where it helps, else 1."""
    temperature_reason: str | None
    """Why none is used; None where one is, or where 1 is the best."""
    calibration_error: tuple[float, float]
    """Expected calibration error before and after the temperature."""
    findings: list[Finding]
    """Problems that the curves show; empty for a healthy run."""


def summarise(setup: Setup, trainer: Trainer) -> Summary:
    """Return the summary of a trainer that has finished an epoch or more."""
    outputs = trainer.best.outputs
    chosen = _temperature(setup, outputs)
    history, images = trainer.finished.history, len(outputs.labels)
    correct = [round(row["val_accuracy"] * images) for row in history]
    return Summary(
        epochs=trainer.epoch,
        best_epoch=trainer.best.epoch,
        epochs_as_good=as_good_as_the_best(correct, images),
        val_images=images,
        val_loss=outputs.loss,
        val_accuracy=outputs.accuracy,
        val_macro_f1=outputs.macro_f1,
        val_auc=outputs.auc,
        temperature=chosen.value,
        temperature_reason=chosen.reason,
        calibration_error=(chosen.error_before, chosen.error_after),
        findings=[] if setup.camera else _findings(setup, trainer),
    )


def _temperature(setup: Setup, outputs: Outputs) -> ChosenTemperature:
    """Return the temperature: 1 for another camera, of which no image has been validated."""
    chosen = choose_temperature(outputs)
    if setup.camera is None:
        return chosen
    reason = "the validation images are not of the camera that the model is for"
    return replace(chosen, value=1.0, error_after=chosen.error_before, reason=reason)


def _findings(setup: Setup, trainer: Trainer) -> list[Finding]:
    """Return what the curves show; they say nothing of a model for another camera."""
    return diagnose(
        trainer.finished.history,
        setup.settings,
        len(setup.dataset.classes),
        validated=_validated(setup, trainer),
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
    card = _card(setup, run, audit, weights, summary.temperature)
    run.write_card(card)
    if setup.settings.strategy in DELTA_STRATEGIES:
        write_bytes(run.delta, _delta(setup, audit, trainer, card))
    for stale in (run.evaluation, run.logits):  # of the model that an earlier stop had left
        stale.unlink(missing_ok=True)
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


def _delta(setup: Setup, audit: Audit, trainer: Trainer, card: Card) -> bytes:
    """Return what was trained as the bytes of a delta file."""
    state = {**setup.classifier.state_dict(), **trainer.best.weights}
    record = DeltaRecord(
        base_sha256=base_sha256(state, setup.trained),
        base_origin=setup.origin,
        settings=portable_settings(setup.settings),
        unreadable=tuple(item.file for item in audit.unreadable),
    )
    return delta_bytes(state, setup.trained, record, card)


def _validated(setup: Setup, trainer: Trainer) -> Validated:
    """Return the best epoch's predictions, and how long the run was trained on how many images."""
    outputs = trainer.best.outputs
    batches = -(-len(setup.dataset.train) // setup.settings.batch_size)
    counts = [0] * len(setup.dataset.classes)
    for sample in setup.dataset.train:
        for label in sample.labels:
            counts[label] += 1
    return Validated(
        classes=tuple(setup.dataset.classes),
        truth=outputs.truth,
        predicted=outputs.predicted,
        train_counts=tuple(counts),
        train_images=len(setup.dataset.train),
        steps=trainer.epoch * -(-batches // setup.settings.accumulate),
        multi_label=outputs.multi_label,
    )


def _card(setup: Setup, run: RunFolder, audit: Audit, weights: Weights, temperature: float) -> Card:
    aligned = read_alignment(run)
    return Card(
        classes=setup.dataset.classes,
        task=setup.settings.task,
        preprocessing=setup.preprocessing,
        normalisation=resnet.IMAGENET_NORMALISATION,
        temperature=temperature,
        architecture=setup.settings.arch,
        head_stages=setup.settings.head_stages,
        weights=weights,
        settings_sha256=settings_sha256(setup.settings),
        data_sha256=audit.fingerprint,
        aligned=aligned.alignment if aligned else None,
        versions={
            "rtl": __version__,
            "torch": str(torch.__version__),
            "pillow": PIL.__version__,
        },
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
