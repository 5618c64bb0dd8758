"""The story of `rtl finetune`: a folder of images becomes a run folder."""

from __future__ import annotations

import hashlib
import os
import shlex
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import PIL
import torch

from toolchain import __version__
from toolchain.data.audit import Audit, audit_dataset, is_inside
from toolchain.data.layouts import Dataset, read_dataset
from toolchain.errors import DataError, Interrupted
from toolchain.narrator import Narrator, Silent
from toolchain.runfolder import RunFolder, free_run_path, whole_file, write_json, write_text
from toolchain.runtime.card import Card, Preprocessing, Weights
from toolchain.training import models, pictures
from toolchain.training.augment import augmented_view
from toolchain.training.loop import Outputs, choose_device, predict_split, train_epoch
from toolchain.training.samples import Views, make_loader
from toolchain.training.schedules import Schedule, make_optimizer, rates
from toolchain.training.settings import FinetuneSettings
from toolchain.training.settings_file import settings_sha256, settings_toml
from toolchain.training.strategies import Trainable, apply_strategy


@dataclass(frozen=True)
class Finetuned:
    """What training left."""

    run: RunFolder
    dataset: Dataset
    audit: Audit
    trainable: Trainable
    best_epoch: int
    epochs: int
    val_accuracy: float
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
    device = choose_device(settings.device)
    run = RunFolder(output or _default_output(settings))
    run.require_free()
    dataset, audit = _read_data(settings, run, narrator)

    torch.manual_seed(settings.seed)
    classifier, origin = models.start_classifier(
        settings.arch,
        len(dataset.classes),
        settings.weights,
        dropout=settings.dropout,
        narrator=narrator,
    )
    classifier.to(device)
    trainable = apply_strategy(classifier, settings)
    narrator.say(f"{settings.arch} from {origin}, on {device}: {trainable}")

    run.create()
    # The run must find its data from whichever folder it is looked at later.
    placed = msgspec.structs.replace(settings, data=str(Path(settings.data).resolve()))
    write_text(run.settings, settings_toml(placed))
    write_json(run.audit, audit)
    card = _card(settings, dataset, audit)
    training = _Training(settings, dataset, classifier, origin, card, run, narrator)
    try:
        training.fit()
    except KeyboardInterrupt as stop:
        if not training.best_epoch:
            run.discard()
            raise
        _draw(training, dataset)
        raise Interrupted(
            f"interrupted; the best of {len(training.history)} epochs is kept in {run.path}",
            hint=f"rtl evaluate {shlex.quote(str(run.path))}",
        ) from stop
    _draw(training, dataset)
    return Finetuned(
        run=run,
        dataset=dataset,
        audit=audit,
        trainable=trainable,
        best_epoch=training.best_epoch,
        epochs=len(training.history),
        val_accuracy=training.best_outputs.accuracy,
        seconds=time.monotonic() - started,
    )


def preprocessing_of(settings: FinetuneSettings) -> Preprocessing:
    """Give the one preprocessing that the settings ask for; settings must be resolved."""
    assert settings.preprocessing != "auto"
    return Preprocessing(
        mode=settings.preprocessing,
        size=settings.size,
        resize_size=settings.resize_size,
        decode_scale=settings.decode_scale,
    )


class _Training:
    """The epochs, and the best of them so far."""

    def __init__(
        self,
        settings: FinetuneSettings,
        dataset: Dataset,
        classifier: models.Classifier,
        origin: str,
        card: Card,
        run: RunFolder,
        narrator: Narrator,
    ) -> None:
        self.settings, self.classifier, self.origin = settings, classifier, origin
        self.card, self.run, self.narrator = card, run, narrator
        self.optimizer = make_optimizer(classifier, settings)
        view = augmented_view(settings)
        self.views = Views(dataset.train, card.preprocessing, view=view, seed=settings.seed)
        clean = Views(dataset.val, card.preprocessing)
        for views, name in ((self.views, "training"), (clean, "validation")):
            if views.fits_in_memory():
                views.read_once(narrator, f"reading the {name} images")
        size, workers = settings.batch_size, settings.workers
        self.train_loader = make_loader(
            self.views, batch_size=size, workers=workers, shuffle=True, seed=settings.seed
        )
        self.val_loader = make_loader(
            clean, batch_size=size, workers=workers, shuffle=False, seed=0
        )
        self.schedule = Schedule(self.optimizer, settings, steps=len(self.train_loader))
        self.history: list[dict[str, Any]] = []
        self.best_epoch = 0
        self.best_outputs: Outputs

    def fit(self) -> None:
        for epoch in range(1, self.settings.epochs + 1):
            outputs = self._epoch(epoch)
            if self._is_best(outputs):
                self._save()
                self.best_epoch, self.best_outputs = epoch, outputs
            self.schedule.after_epoch(outputs.accuracy)
            patience = self.settings.early_stopping
            if patience and epoch - self.best_epoch >= patience:
                self.narrator.say(f"stopped early: no better epoch in {patience}")
                break

    def _epoch(self, epoch: int) -> Outputs:
        started = time.monotonic()
        of = f"epoch {epoch:>{len(str(self.settings.epochs))}}/{self.settings.epochs}"
        used = rates(self.optimizer)
        self.views.epoch.fill_(epoch)
        trained = train_epoch(
            self.classifier,
            self.train_loader,
            self.optimizer,
            self.schedule,
            self.settings,
            self.narrator,
            label=of,
        )
        outputs = predict_split(
            self.classifier, self.val_loader, self.narrator, label=f"{of}, validation"
        )
        row = {
            "epoch": epoch,
            "train_loss": round(trained.loss, 6),
            "train_accuracy": round(trained.accuracy, 6),
            "val_loss": round(outputs.loss, 6),
            "val_accuracy": round(outputs.accuracy, 6),
            "learning_rates": used,
            "seconds": round(time.monotonic() - started, 3),
        }
        self.history.append(row)
        with self.run.metrics.open("a", encoding="utf-8") as file:
            file.write(msgspec.json.encode(row).decode() + "\n")
        self.narrator.say(
            f"{of}  loss {trained.loss:.3f} → {outputs.loss:.3f}  "
            f"accuracy {trained.accuracy:.1%} → {outputs.accuracy:.1%}  {row['seconds']:.1f} s"
        )
        return outputs

    def _is_best(self, outputs: Outputs) -> bool:
        """Prefer accuracy, then the lower loss: small validation sets tie often."""
        if not self.best_epoch:
            return True
        best = self.best_outputs
        return (outputs.accuracy, -outputs.loss) > (best.accuracy, -best.loss)

    def _save(self) -> None:
        data = models.weights_bytes(self.classifier.state_dict())
        with whole_file(self.run.weights) as temporary:
            temporary.write_bytes(data)
        record = Weights(origin=self.origin, sha256=hashlib.sha256(data).hexdigest())
        self.run.write_card(msgspec.structs.replace(self.card, weights=record))


def _default_output(settings: FinetuneSettings) -> Path:
    data = Path(settings.data).resolve()
    name = data.stem if data.is_file() else data.name
    return free_run_path(Path("runs"), f"{name}-{settings.arch}-{settings.strategy}")


def _read_data(
    settings: FinetuneSettings, run: RunFolder, narrator: Narrator
) -> tuple[Dataset, Audit]:
    found = read_dataset(settings.data)
    if is_inside(run.path, found.root):
        raise DataError(
            f"{run.path} lies inside the data folder {found.root}, which rtl never writes to",
            hint="choose another folder with -o",
        )
    dataset, audit = audit_dataset(found, narrator)
    counts = ", ".join(f"{len(dataset.split(s))} {s}" for s in ("train", "val", "test"))
    narrator.say(f"{dataset.root}: {len(dataset.classes)} classes; {counts} ({dataset.split_by})")
    for line in warnings_of(audit):
        narrator.say(line)
    return dataset, audit


def warnings_of(audit: Audit) -> list[str]:
    """Give one line for each kind of problem that the audit found."""
    lines = []
    if audit.unreadable:
        first = audit.unreadable[0]
        lines.append(
            f"left out {len(audit.unreadable)} unreadable files, first {first.file}: {first.reason}"
        )
    if audit.leaks:
        lines.append(
            f"{len(audit.leaks)} groups of equal images stand in more than one split, "
            f"first {audit.leaks[0][0]}: validation is too optimistic"
        )
    if audit.label_conflicts:
        lines.append(
            f"{len(audit.label_conflicts)} groups of equal images stand in more than one class, "
            f"first {audit.label_conflicts[0][0]}"
        )
    if audit.rare_classes:
        lines.append(f"far fewer images than in the largest class: {', '.join(audit.rare_classes)}")
    return lines


def _card(settings: FinetuneSettings, dataset: Dataset, audit: Audit) -> Card:
    return Card(
        classes=dataset.classes,
        preprocessing=preprocessing_of(settings),
        normalisation=models.IMAGENET_NORMALISATION,
        architecture=settings.arch,
        weights=Weights(origin="", sha256=""),
        settings_sha256=settings_sha256(settings),
        data_sha256=audit.fingerprint,
        versions={
            "rtl": __version__,
            "torch": str(torch.__version__),
            "pillow": PIL.__version__,
        },
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _draw(training: _Training, dataset: Dataset) -> None:
    run, outputs = training.run, training.best_outputs
    pictures.draw_curves(training.history, training.best_epoch, run.curves)
    title = f"validation, {len(outputs.labels)} images, {outputs.accuracy:.1%} right"
    pictures.draw_confusion(outputs.confusion, dataset.classes, title, run.confusion)
